"""Erasure and export of everything that belongs to a session, a user or a tenant."""

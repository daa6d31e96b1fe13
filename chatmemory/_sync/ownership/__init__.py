# Generated from chatmemory/_async/ownership/__init__.py by `python scripts/unasync.py`.
# Do not edit: change that file, then run: make sync
"""Erasure and export of everything that belongs to a session, a user or a tenant."""

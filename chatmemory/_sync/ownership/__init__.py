# Generated from chatmemory/_async/ownership/__init__.py by `python scripts/unasync.py`.
# Do not edit: change that file, then run: make sync
"""What belongs to a session, a user or a tenant: erased, or exported, as a whole."""

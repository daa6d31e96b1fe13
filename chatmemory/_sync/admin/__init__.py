# Generated from chatmemory/_async/admin/__init__.py by `python scripts/unasync.py`.
# Do not edit: change that file, then run: make sync

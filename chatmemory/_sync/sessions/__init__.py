# Generated from chatmemory/_async/sessions/__init__.py by `python scripts/unasync.py`.
# Do not edit: change that file, then run: make sync

# Generated from chatmemory/_async/runs/__init__.py by `python scripts/unasync.py`.
# Do not edit: change that file, then run: make sync

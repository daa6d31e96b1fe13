"""All SQL statements of the library, by domain; the functions they call are in schema/functions/."""

from chatmemory.storage.queries import admin, items, learning, memories, messages, ownership, runs, sessions

__all__ = ["admin", "items", "learning", "memories", "messages", "ownership", "runs", "sessions"]

"""Every SQL statement of the library, named, by domain. The functions they call stand in schema/functions/."""

from chatmemory.storage.queries import admin, items, learning, memories, messages, ownership, runs, sessions

__all__ = ["admin", "items", "learning", "memories", "messages", "ownership", "runs", "sessions"]

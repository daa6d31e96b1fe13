"""All SQL statements of the library, by domain; the functions they call are in schema/functions/.

A statement that is a transaction of its own, in one round trip, calls a function of the schema, which sets its tenant
and its search_path. search_path is not pinned before that: such a statement qualifies every function and operator.
"""

from chatmemory.storage.queries import admin, effects, items, learning, memories, messages, ownership, runs, sessions

__all__ = ["admin", "effects", "items", "learning", "memories", "messages", "ownership", "runs", "sessions"]

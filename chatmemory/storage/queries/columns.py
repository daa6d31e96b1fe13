"""The select list of each record, made from the record's own columns.

A new column of a session is a field of SessionInfo (with a default, for records that were rendered before) and a
migration; nothing else names it. A field that is not a plain column of the table has an expression here.
"""

from chatmemory.items.records import ITEM_COLUMNS
from chatmemory.memories.records import EXPENSE_COLUMNS, MEMORY_COLUMNS
from chatmemory.messages.records import MESSAGE_COLUMNS
from chatmemory.sessions.records import EVENT_COLUMNS, SESSION_COLUMNS

_MEMORY_EXPRESSIONS = {
    "sources": "(select json_agg(json_build_array(s.session_id, s.from_seq, s.to_seq) "
    "order by s.session_id, s.from_seq) from chatmemory.memory_sources s "
    "where s.tenant_id = m.tenant_id and s.memory_id = m.id)",
    "similar_to": "(select array_agg(o.id order by o.created_at, o.id) from chatmemory.memories o "
    "where o.tenant_id = m.tenant_id and o.id = any(m.similar_to) and o.valid_to is null)",
    "importance": "m.importance::text::float8",  # read in binary, 0.8 as a real would be 0.800000011920929
}
_ITEM_EXPRESSIONS = {"user_id": "nullif(user_id, '')"}

SESSION = ", ".join(SESSION_COLUMNS)
MESSAGE = ", ".join(MESSAGE_COLUMNS)
MESSAGE_OF_M = ", ".join(f"m.{column}" for column in MESSAGE_COLUMNS)
EVENT = ", ".join(EVENT_COLUMNS)
EXPENSE = ", ".join(EXPENSE_COLUMNS)
MEMORY = ", ".join(_MEMORY_EXPRESSIONS.get(column, f"m.{column}") for column in MEMORY_COLUMNS)
# All fields but the score, which the query computes and puts last.
ITEM = ", ".join(_ITEM_EXPRESSIONS.get(column, column) for column in ITEM_COLUMNS if column != "score")

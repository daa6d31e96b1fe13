"""All that is stored about one user: to read, to export, to erase."""

from chatmemory.storage.queries.columns import EVENT, EXPENSE, MEMORY, MESSAGE, SESSION

# The same for all whose memories cite a session, or any session of a user; always with those of the whole tenant.
LOCK_TO_FORGET = (
    "select from chatmemory.memory_users where user_id = any(array['', %(user_id)s] || array("
    "select m.user_id from chatmemory.memories m join chatmemory.memory_sources c "
    "on c.tenant_id = m.tenant_id and c.memory_id = m.id where c.session_id in (select s.id from chatmemory.sessions s "
    "where s.user_id = %(user_id)s and s.id = coalesce(%(session_id)s, s.id)))) "
    "order by user_id for no key update"
)
SESSIONS_OF_USER = "select id from chatmemory.sessions where user_id = %s order by created_at, id for update"
MEMORIES_OF_USER = (
    "select id from chatmemory.memories where user_id = %(user_id)s union "
    "select s.memory_id from chatmemory.memory_sources s where s.session_id = any(%(sessions)s)"
)
MEMORIES_OF_SESSION = "select memory_id from chatmemory.memory_sources where session_id = %s group by memory_id"
ERASE_MEMORY_USER = "delete from chatmemory.memory_users where user_id = %s"
ERASE_SPEND_OF_USER = "delete from chatmemory.spend where user_id = %s"
ALL_SESSIONS_OF_USER = (
    "select " + SESSION + ", deleted_at from chatmemory.sessions where user_id = %s order by created_at, id"
)
MESSAGES_TO_EXPORT = (
    "select " + MESSAGE + " from chatmemory.messages where session_id = %(id)s and seq > %(seq)s order by seq limit 500"
)
EVENTS_TO_EXPORT = "select " + EVENT + " from chatmemory.events where session_id = %s order by number"
# A metric as it is packed, each row with the name and the total of its own that series_from_rows() takes.
SPEND_TO_EXPORT = "select " + EXPENSE + " from chatmemory.spend where user_id = %s order by number"
# A user's own, and what the tenant shares of what the user said.
ALL_MEMORIES_OF_USER = (
    "select " + MEMORY + " from chatmemory.memories m where m.user_id = %(user_id)s or m.user_id = '' and exists ("
    "select from chatmemory.memory_sources c join chatmemory.sessions s "
    "on s.tenant_id = c.tenant_id and s.id = c.session_id "
    "where c.tenant_id = m.tenant_id and c.memory_id = m.id and s.user_id = %(user_id)s) order by m.created_at, m.id"
)

"""Messages: append, read, count."""

from chatmemory.context.window import WINDOW_COLUMNS
from chatmemory.sessions.records import Appended
from chatmemory.storage.queries.columns import MESSAGE, MESSAGE_OF_M

_APPENDED = ", ".join(f"a.{column}" for column in Appended._fields)
_WINDOW = ", ".join(WINDOW_COLUMNS)
_WINDOW_OF_W = ", ".join(f"w.{column}" for column in WINDOW_COLUMNS)

# The hot path: append in one round trip.
_APPEND = " from chatmemory.append(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s) a"
_APPEND_TURN = " from chatmemory.append_turn(" + "%s, " * 18 + "%s) a"
APPEND = "select " + _APPENDED + _APPEND
APPEND_TURN = "select " + _APPENDED + _APPEND_TURN
# Append, and read the window afterwards unless the caller has all earlier messages; still one round trip. `offset 0`
# keeps the planner from moving the condition, so that read_window is called only if it holds.
_AND_WINDOW = (
    " left join lateral (select * from chatmemory.read_window(%s, %s, %s, %s, null) "
    "where a.first_seq operator(pg_catalog.<>) %s or a.summary_seq operator(pg_catalog.<>) %s offset 0) w on true"
)
APPEND_AND_READ = "select " + _APPENDED + ", " + _WINDOW_OF_W + _APPEND + _AND_WINDOW
APPEND_TURN_AND_READ = "select " + _APPENDED + ", " + _WINDOW_OF_W + _APPEND_TURN + _AND_WINDOW
READ_WINDOW = "select " + _WINDOW + " from chatmemory.read_window(%s, %s, %s, %s, %s)"
MESSAGES_AFTER = "select " + MESSAGE + " from chatmemory.messages_after(%s, %s, %s, %s)"

# Set the counters of a fork from the messages copied into it.
COUNT_COPIED = (
    "update chatmemory.sessions set parent_id = %(from)s, message_count = t.count, last_seq = t.count, "
    "token_count = t.tokens, last_message_at = t.newest, due_at = clock_timestamp() from (select count(*) as count, "
    "coalesce(sum(tokens), 0) as tokens, max(created_at) as newest from chatmemory.messages "
    "where session_id = %(to)s) t where id = %(to)s"
)

# Get single messages, such as those too large for the window.
READ_SEQS = (
    "select " + MESSAGE + " from chatmemory.messages where session_id = %(id)s and seq = any(%(seqs)s) "
    "and exists (select from chatmemory.sessions where id = %(id)s and born_at = %(born)s and deleted_at is null)"
)
# Words of a tool, which stand in a user's message if it is of Anthropic's form.
FROM_TOOL = (
    "(m.role = 'tool' or m.content_json::text like '%%tool_result%%' and exists (select from json_array_elements("
    "m.content_json) b where b ->> 'type' = 'tool_result'))"
)
TRUST_OF_MESSAGES = (
    "select count(*), min(case when "
    + FROM_TOOL
    + " then 0 when role = 'assistant' then 1 when role = 'user' then 2 else 3 end) "
    "from chatmemory.messages m where session_id = %(id)s and seq between %(from)s and %(to)s "
    "and exists (select from chatmemory.sessions where id = %(id)s and deleted_at is null)"
)
# A session that is cited as a whole counts as one message of an app.
TRUST_OF_SESSION = "select count(*), 3 from chatmemory.sessions where id = %(id)s and deleted_at is null"

# Get a user's newest messages over all sessions.
RECENT_MESSAGES = (
    "select " + MESSAGE_OF_M + " from ("
    "select id from chatmemory.sessions where user_id = %(user_id)s and deleted_at is null "
    "and learns = 'messages' and last_seq > 0 order by last_active_at desc limit %(limit)s) s "
    "cross join lateral (select * from chatmemory.messages n where n.session_id = s.id "
    "order by n.seq desc limit %(limit)s) m order by m.created_at desc, m.session_id, m.seq desc limit %(limit)s"
)

"""The statements that read other stores in Postgres; names of tables and columns are filled in as identifiers."""

from psycopg import sql

# The columns of a table.
COLUMNS = sql.SQL("select * from {table} limit 0")

# The next sessions of a table of LangChain's in the order of their ids, with their times and owners.
SESSIONS = sql.SQL("""
select session_id, min({time}), max({time}),
       min({tenant}::text), max({tenant}::text), min({user}::text), max({user}::text)
from {table} where session_id is not null {after} group by session_id order by session_id limit 500
""")
AFTER = sql.SQL("and session_id > %(after)s")

# The next messages of one session.
MESSAGES = sql.SQL("""
select id, message, {time} from {table}
where session_id = %(session)s and id > %(after)s order by id limit 100
""")

# The next threads of LangGraph's checkpoints; subgraphs have namespaces of their own.
THREADS = sql.SQL("""
select thread_id from checkpoints
where checkpoint_ns = '' and thread_id > %(after)s group by thread_id order by thread_id limit 500
""")

# The time of a thread's first checkpoint.
BEGINNING = sql.SQL("""
select checkpoint ->> 'ts' from checkpoints
where thread_id = %(thread)s and checkpoint_ns = '' order by checkpoint_id limit 1
""")

NO_TIME = sql.SQL("null::timestamptz")
NO_TEXT = sql.SQL("null")

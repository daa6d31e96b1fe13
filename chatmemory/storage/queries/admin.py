"""Transactions, the schema's own tables, and the server."""

from chatmemory.storage.queries.ownership import COUNT_ALL
from chatmemory.storage.schema.pins import PINS
from chatmemory.storage.schema.roles import APP

# Begin a transaction at a fixed isolation level, whatever default the server is configured with.
BEGIN = "begin isolation level read committed"
# Begin a read-only transaction that sees one snapshot throughout.
BEGIN_SNAPSHOT = "begin isolation level repeatable read, read only"
COMMIT = "commit"
ROLLBACK = "rollback"
# Pin the transaction's settings: its first statement, unless ENTER_TENANT is.
PIN = "select " + PINS
BEGIN_PINNED = BEGIN + "; " + PIN
# The same, and restrict the transaction to the rows of one tenant.
ENTER_TENANT = (
    PIN + ", pg_catalog.set_config('role', " + APP + ", true), pg_catalog.set_config('chatmemory.tenant_id', %s, true)"
)

# The schema's own tables that exist. pg_tables is read because to_regclass() may answer from a state before the lock.
SCHEMA_TABLES = (
    "select tablename from pg_tables where schemaname = 'chatmemory' "
    "and tablename in ('schema_migrations', 'schema_parts')"
)
# The applied migrations, and the installed revision of one part of the schema.
APPLIED_MIGRATIONS = "select m.version, to_json(m) ->> 'checksum' from chatmemory.schema_migrations m where version > 0"
REVISION = "select coalesce(max(revision), 0) from chatmemory.schema_parts where name = %s"

# A migration that cannot lock a table in 500 ms fails and is retried, so that no deadlock ends another call.
MIGRATION_LOCK = "select pg_advisory_xact_lock(%s)"
MIGRATION_TIMEOUTS = "select set_config('lock_timeout', '500ms', true), set_config('statement_timeout', '0', true)"

# The owners of objects in the schema that the login may not change, because an administrator created or restored them.
FOREIGN_OWNERS = (
    "select distinct pg_get_userbyid(o.owner) from ("
    "select nspowner from pg_namespace where nspname = 'chatmemory' "
    "union all select relowner from pg_class where relnamespace = to_regnamespace('chatmemory')) o(owner) "
    "where not pg_has_role(session_user, o.owner, 'usage')"
)
DATABASE = "select current_database()"
LOGIN = "select session_user"
PING = "select"
# Refused where nothing can be written; writes nothing.
ASK_TO_WRITE = "update chatmemory.sessions set title = title where false"

# For examinations: the server, and the rows that are visible without a tenant.
SERVER_VERSION = (
    "select pg_catalog.current_setting('server_version'), session_user, pg_catalog.current_database()::pg_catalog.text"
)
VECTOR_VERSION = (
    "select extversion::pg_catalog.text from pg_catalog.pg_extension where extname operator(pg_catalog.=) 'vector'"
)
# The tables of vectors are made with pgvector, all at once; dropping the extension drops their vectors.
HAS_VECTORS = (
    "select exists (select from pg_catalog.pg_attribute a where a.attname operator(pg_catalog.=) 'embedding' "
    "and a.attrelid operator(pg_catalog.=) pg_catalog.to_regclass('chatmemory.item_vectors')::pg_catalog.oid)"
)
# The settings of a new transaction on a new connection, one row for each.
SETTINGS = "select name, pg_catalog.current_setting(name, true) from pg_catalog.unnest(%s::pg_catalog.text[]) s(name)"
ROWS_WITHOUT_TENANT = COUNT_ALL

# The embedded server's own database.
FIND_DATABASE = "select from pg_database where datname = 'chatmemory'"
CREATE_DATABASE = "create database chatmemory"

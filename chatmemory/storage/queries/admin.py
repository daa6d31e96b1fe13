"""The schema itself: its version, its isolation, its tenants."""

from chatmemory.storage.queries.ownership import COUNT_ALL
from chatmemory.storage.schema.roles import APP

# A transaction whose isolation does not depend on a default that an administrator has set.
BEGIN = "begin isolation level read committed"
# One that only reads, and sees the same however long it takes.
BEGIN_SNAPSHOT = "begin isolation level repeatable read, read only"
COMMIT = "commit"
ROLLBACK = "rollback"
# Whoever runs these sees one tenant's rows, until the transaction ends.
ENTER_TENANT = "select set_config('role', " + APP + ", true), set_config('chatmemory.tenant_id', %s, true)"

# Which of the schema's own tables there are (asked of the tables themselves: name lookups may be answered from before
# the lock), the migrations that were applied, and the revision of one of the other parts.
SCHEMA_TABLES = (
    "select tablename from pg_tables where schemaname = 'chatmemory' "
    "and tablename in ('schema_migrations', 'schema_parts')"
)
APPLIED_MIGRATIONS = "select m.version, to_json(m) ->> 'checksum' from chatmemory.schema_migrations m where version > 0"
REVISION = "select coalesce(max(revision), 0) from chatmemory.schema_parts where name = %s"

# A migration gives way to whoever uses a table, and tries again, before a deadlock could end somebody else's call.
MIGRATION_LOCK = "select pg_advisory_xact_lock(%s)"
MIGRATION_TIMEOUTS = "select set_config('lock_timeout', '500ms', true), set_config('statement_timeout', '0', true)"

# Who owns objects of the schema that the login may not change: an administrator made or restored them.
FOREIGN_OWNERS = (
    "select distinct pg_get_userbyid(o.owner) from ("
    "select nspowner from pg_namespace where nspname = 'chatmemory' "
    "union all select relowner from pg_class where relnamespace = to_regnamespace('chatmemory')) o(owner) "
    "where not pg_has_role(session_user, o.owner, 'usage')"
)
DATABASE = "select current_database()"
LOGIN = "select session_user"
PING = "select"

# What doctor asks: the server, and whether isolation is really on.
SERVER_VERSION = "select current_setting('server_version'), session_user, current_database()"
VECTOR_VERSION = "select extversion from pg_extension where extname = 'vector'"
ROWS_WITHOUT_TENANT = COUNT_ALL

# The embedded server's own database.
FIND_DATABASE = "select from pg_database where datname = 'chatmemory'"
CREATE_DATABASE = "create database chatmemory"

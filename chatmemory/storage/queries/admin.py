"""The schema itself: its version, its isolation, its tenants."""

from chatmemory.storage.queries.ownership import COUNT_ALL

# A transaction whose isolation does not depend on a default that an administrator has set.
BEGIN = "begin isolation level read committed"
# One that only reads, and sees the same however long it takes.
BEGIN_SNAPSHOT = "begin isolation level repeatable read, read only"
COMMIT = "commit"
ROLLBACK = "rollback"
# Whoever runs these sees one tenant's rows, until the transaction ends.
ENTER_TENANT = "select set_config('role', 'chatmemory_app', true), set_config('chatmemory.tenant_id', %s, true)"

# Whether there is a schema (asked of the tables themselves: name lookups may be answered from before the lock),
# and its version.
SCHEMA_EXISTS = "select count(*) > 0 from pg_tables where schemaname = 'chatmemory' and tablename = 'schema_migrations'"
APPLIED_MIGRATIONS = "select m.version, to_json(m) ->> 'checksum' from chatmemory.schema_migrations m"
MIGRATION_LOCK = "select pg_advisory_xact_lock(%s)"
LOGIN = "select session_user"
PING = "select"

# What doctor asks: the server, and whether isolation is really on.
SERVER_VERSION = "select current_setting('server_version'), session_user, current_database()"
VECTOR_VERSION = "select extversion from pg_extension where extname = 'vector'"
UNPROTECTED_TABLES = (
    "select relname from pg_class where relnamespace = 'chatmemory'::regnamespace and relkind in ('r', 'p') "
    "and not (relrowsecurity and relforcerowsecurity) order by relname"
)
BYPASSING_ROLES = (
    "select rolname from pg_roles where rolname in ('chatmemory_app', 'chatmemory_worker') "
    "and (rolsuper or rolbypassrls) order by rolname"
)
ROWS_WITHOUT_TENANT = COUNT_ALL

# The embedded server's own database.
FIND_DATABASE = "select from pg_database where datname = 'chatmemory'"
CREATE_DATABASE = "create database chatmemory"

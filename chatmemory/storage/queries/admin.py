"""The schema itself: its version, its isolation, its tenants."""

from chatmemory.storage.schema.roles import APP

# A transaction whose isolation does not depend on a default that an administrator has set.
BEGIN = "begin isolation level read committed"
COMMIT = "commit"
ROLLBACK = "rollback"
# Whoever runs these sees one tenant's rows, until the transaction ends.
ENTER_TENANT = "select set_config('role', " + APP + ", true), set_config('chatmemory.tenant_id', %s, true)"

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
ROWS_WITHOUT_TENANT = (
    "select (select count(*) from chatmemory.sessions) + (select count(*) from chatmemory.messages) "
    "+ (select count(*) from chatmemory.events) + (select count(*) from chatmemory.metrics)"
)

# The embedded server's own database.
FIND_DATABASE = "select from pg_database where datname = 'chatmemory'"
CREATE_DATABASE = "create database chatmemory"

"""The names of the two roles of a database, derived from its name: a login of one database is nobody in another."""

# A role's name has 63 bytes at most: 41 are left for the database's own. The name of a hash is longer than any that
# is used as it stands, so no two databases share one.
_SUFFIX = (
    "(select case when octet_length(d.name) <= 41 then d.name else 'long_name_' || md5(d.name) end "
    "from (select current_database()::text as name) d)"
)
APP = f"('chatmemory_app_' || {_SUFFIX})"  # an expression in SQL, as the next one
WORKER = f"('chatmemory_worker_' || {_SUFFIX})"


def with_roles(sql: str) -> str:
    """Put the two expressions where a file has {app} and {worker}."""
    return sql.replace("{app}", APP).replace("{worker}", WORKER)

"""The two roles of a database. Their names contain its name, so that a login has no rights in other databases."""

# A role's name has at most 63 bytes: 41 are left for the database's name. A longer name is replaced by a hash of 42
# bytes, which no name that is used as it is can have, so no two databases share a role.
_SUFFIX = (
    "(select case when octet_length(d.name) <= 41 then d.name else 'long_name_' || md5(d.name) end "
    "from (select current_database()::text as name) d)"
)
APP = f"('chatmemory_app_' || {_SUFFIX})"  # an SQL expression, like the next one
WORKER = f"('chatmemory_worker_' || {_SUFFIX})"


def with_roles(sql: str) -> str:
    """Replace {app} and {worker} in a file by the two expressions."""
    return sql.replace("{app}", APP).replace("{worker}", WORKER)

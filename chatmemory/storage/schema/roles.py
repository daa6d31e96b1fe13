"""The two roles of a database. Their names contain its name, so that a login has no rights in other databases."""

# A role's name has at most 63 bytes: 41 are left for the database's name. A longer name is replaced by a hash of 42
# bytes, which no name that is used as it is can have, so no two databases share a role.
# Its name is looked up before search_path is pinned, so every name here is qualified.
_SUFFIX = (
    "(select case when pg_catalog.octet_length(d.name) operator(pg_catalog.<=) 41 then d.name "
    "else pg_catalog.concat('long_name_', pg_catalog.md5(d.name)) end "
    "from (select pg_catalog.current_database()::pg_catalog.text as name) d)"
)
APP = f"pg_catalog.concat('chatmemory_app_', {_SUFFIX})"  # an SQL expression, like the next one
WORKER = f"pg_catalog.concat('chatmemory_worker_', {_SUFFIX})"


def with_roles(sql: str) -> str:
    """Replace {app} and {worker} in a file by the two expressions."""
    return sql.replace("{app}", APP).replace("{worker}", WORKER)

"""The settings of every transaction, whatever the server, the database, the login or the URL set as defaults.

Poolers do not keep the settings of a connection, so each transaction sets its own: in its first statement, or, where
it consists of one call of a function, in that function (functions/enter.sql).
"""

from typing import LiteralString

# Functions, operators and types are looked up in pg_catalog alone: whoever may create objects in another schema, or
# temporary ones, cannot shadow any.
SEARCH_PATH: LiteralString = "pg_catalog, pg_temp"

# Without these, a function refuses to begin: it cannot change them for the statement that calls it.
ESSENTIAL: tuple[tuple[LiteralString, LiteralString], ...] = (
    ("statement_timeout", "0"),
    ("lock_timeout", "0"),
    ("row_security", "on"),
    ("standard_conforming_strings", "on"),
)
# These change what a statement means or how long it takes; functions do not depend on them.
FURTHER: tuple[tuple[LiteralString, LiteralString], ...] = (
    ("idle_in_transaction_session_timeout", "0"),
    ("DateStyle", "ISO, MDY"),
    ("IntervalStyle", "postgres"),
    ("bytea_output", "hex"),
    ("extra_float_digits", "1"),
    ("array_nulls", "on"),
    ("transform_null_equals", "off"),
    ("jit", "off"),
)
_NEWER: LiteralString = "transaction_timeout"  # since Postgres 17

# Durable before acknowledged; a stricter setting stays.
DURABLE: LiteralString = (
    "pg_catalog.set_config('synchronous_commit', case when pg_catalog.current_setting('synchronous_commit') "
    "operator(pg_catalog.=) 'remote_apply' then 'remote_apply' else 'on' end, true)"
)
# The expressions that set all of it. Every name in them is qualified: the path is not pinned before they ran.
PINS: LiteralString = ", ".join(
    (
        f"pg_catalog.set_config('search_path', '{SEARCH_PATH}', true)",
        DURABLE,
        *(f"pg_catalog.set_config('{name}', '{value}', true)" for name, value in ESSENTIAL + FURTHER),
        f"case when pg_catalog.current_setting('{_NEWER}', true) is not null "
        f"then pg_catalog.set_config('{_NEWER}', '0', true) end",
    )
)
# Whether a transaction lacks an essential setting. A transaction that only reads may have another isolation level.
IS_UNPINNED: LiteralString = (
    "current_setting('transaction_isolation') <> 'read committed' and current_setting('transaction_read_only') = 'off'"
    + "".join(f"\n        or current_setting('{name}') <> '{value}'" for name, value in ESSENTIAL)
    + f"\n        or coalesce(current_setting('{_NEWER}', true), '0') <> '0'"
)


# What each pinned setting should be by default.
USUAL: dict[str, frozenset[str]] = {
    "synchronous_commit": frozenset({"on", "remote_apply"}),
    "default_transaction_isolation": frozenset({"read committed"}),
    **{name: frozenset({value}) for name, value in ESSENTIAL + FURTHER if name != "jit"},
    "DateStyle": frozenset({"ISO, MDY", "ISO, DMY", "ISO, YMD"}),
    _NEWER: frozenset({"0"}),
}
# What a session cannot set for itself, or what an administrator has to decide: the only sound value, and what another
# one does.
NEEDED: dict[str, tuple[str, str]] = {
    "fsync": ("on", "a crash of the machine loses acknowledged messages"),
    "full_page_writes": ("on", "a crash of the machine can damage stored messages"),
    "default_transaction_read_only": ("off", "nothing can be stored"),
    "session_replication_role": ("origin", "triggers do not run: no session becomes due"),
    "server_encoding": ("UTF8", "not every character can be stored"),
}


def with_pins(sql: str) -> str:
    """Replace {durable} and {is_unpinned} in a file by their expressions."""
    return sql.replace("{durable}", DURABLE).replace("{is_unpinned}", IS_UNPINNED)

"""`migrate` and `doctor`: the schema, and whether all is well."""

from typing import Annotated

import typer

from chatmemory.cli.options import JsonOption, PostgresOption, settings_for

DEFAULT_LOGIN = "postgres"


def migrate(
    print_: Annotated[
        bool, typer.Option("--print", help="Print the SQL for an administrator instead; connects to nothing.")
    ] = False,
    login: Annotated[
        str | None,
        typer.Option(
            show_default="the user in the URL, else postgres",
            help="With --print: the database user the application connects as.",
        ),
    ] = None,
    postgres: PostgresOption = None,
) -> None:
    """Bring the database's schema up to date."""
    if print_:
        from chatmemory.cli.terminal import write
        from chatmemory.storage.schema import script

        write(script(login or _login_of(postgres)))
        return
    applied = _apply(postgres)
    print("\n".join(applied) if applied else "up to date")


def _login_of(postgres: str | None) -> str:
    from chatmemory.storage.postgres_address import address_of

    url = settings_for(postgres).postgres_url
    return (address_of(url.get_secret_value()).user if url else None) or DEFAULT_LOGIN


def _apply(postgres: str | None) -> list[str]:
    from chatmemory._sync.storage.database import Database

    database = Database(settings_for(postgres))
    try:
        return database.migrate()
    finally:
        database.close()


def doctor(
    tenant: Annotated[
        str | None, typer.Option("--tenant", show_default="nobody's", help="Also tell what this tenant spent today.")
    ] = None,
    postgres: PostgresOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check what is connected, and whether tenants are kept apart.

    It also tells what waits to be learnt, and what falls back because something is not configured.

    Exits with 1 if something is wrong. Nothing is changed: a probe that is written to see whether another tenant
    can read it is rolled back.
    """
    from chatmemory.cli.doctor import examine
    from chatmemory.cli.terminal import to_json

    report = examine(settings_for(postgres), tenant)
    if as_json:
        print(to_json(report.as_json()))
    else:
        from chatmemory.cli.doctor import show

        show(report)
    if not report.ok:
        raise typer.Exit(1)

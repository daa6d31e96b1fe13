"""`sessions`, `show`, `export`: listing, showing and exporting sessions."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chatmemory.cli.options import (
    DEFAULT_TENANT,
    JsonOption,
    PostgresOption,
    SessionArgument,
    TenantOption,
    elsewhere,
    memory_on,
    session_of,
)
from chatmemory.cli.runs import Run, run_as_json, run_facts, run_of, show_run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from chatmemory import Context, Event, Message, Page, SessionInfo, Sessions

STATUS_STYLES = {"active": "green", "failed": "red", "expired": "dim", "cancelled": "yellow"}
SHOWN = 1_000  # characters of an object
TEXTS = ("text", "input_text", "output_text")  # blocks of LangChain and Anthropic, and of the Responses API
ROLE_STYLES = {"user": "bold cyan", "assistant": "bold green", "system": "bold yellow", "tool": "bold magenta"}


class Format(StrEnum):
    """Formats of an export."""

    JSON = "json"
    MARKDOWN = "markdown"


def sessions(
    user: Annotated[
        str | None, typer.Option("--user", show_default="all users", help="Only the sessions of this user.")
    ] = None,
    kind: Annotated[str | None, typer.Option(help="Only sessions of this kind.")] = None,
    status: Annotated[
        str | None, typer.Option(help="Only active, completed, failed, cancelled or expired ones.")
    ] = None,
    limit: Annotated[int, typer.Option(help="How many to show.")] = 20,
    offset: Annotated[int, typer.Option(help="How many to skip.")] = 0,
    tenant: TenantOption = DEFAULT_TENANT,
    postgres: PostgresOption = None,
    as_json: JsonOption = False,
) -> None:
    """List sessions, most recently active first."""
    with memory_on(postgres) as memory:
        page = memory.tenant(tenant).sessions.list(
            user_id=user,
            kind=kind,
            status=status,  # type: ignore[arg-type]  # the library checks it
            limit=limit,
            offset=offset,
            with_total=True,
        )
    if as_json:
        _print_json(page.to_dict())
    else:
        _show_page(page, tenant)


def _print_json(value: Any) -> None:
    from chatmemory.cli.terminal import to_json

    print(to_json(value))


def _show_page(page: "Page[SessionInfo]", tenant: str) -> None:
    from chatmemory.cli.terminal import NARROW, listed, many, stdout, text

    console = stdout()
    if not page.total:
        console.print(text(f"No sessions in tenant {tenant!r}{elsewhere(tenant)}."))
        return
    if console.width < NARROW:
        for info in page:
            listed(console, info.id, _session_title(info), _brief(info))
    else:
        console.print(_session_table(page))
    shown = f"{page.offset + 1}-{page.offset + len(page)}" if len(page) and page.offset is not None else "none"
    more = f", shown: {shown}" if len(page) < page.total else ""
    console.print(text(f"{many(page.total, 'session')} in tenant {tenant!r}{elsewhere(tenant)}{more}", "dim"))


def _session_table(page: "Page[SessionInfo]") -> "Table":
    """Return a table with a line for each session; ids are never truncated."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("id", overflow="fold", no_wrap=True)
    table.add_column("title", overflow="ellipsis", no_wrap=True, max_width=50)
    for name in ("user", "kind", "status"):
        table.add_column(name, overflow="fold")
    table.add_column("messages", justify="right")
    table.add_column("last active", no_wrap=True)
    for info in page:
        table.add_row(*_session_cells(info))
    return table


def _session_cells(info: "SessionInfo") -> list[Any]:
    from chatmemory.cli.terminal import ago, text

    return [
        text(info.id, "cyan"),
        _session_title(info),
        text(info.user_id),
        text(info.kind),
        text(info.status, STATUS_STYLES.get(info.status, "")),
        f"{info.message_count:,}",
        text(ago(info.last_active_at)),
    ]


def _session_title(info: "SessionInfo") -> "Text":
    from chatmemory.cli.terminal import text

    if info.title == info.id:  # the id is shown already
        return text("")
    return text(_one_line(info.title) or "untitled", "" if info.title else "dim")


def _brief(info: "SessionInfo") -> "Text":
    from chatmemory.cli.terminal import ago, many, text

    status = text(info.status, STATUS_STYLES.get(info.status, ""))
    rest = f", {many(info.message_count, 'message')}, {ago(info.last_active_at)}"
    return text(f"{info.kind} of {info.user_id}, ", "dim") + status + text(rest, "dim")


def _one_line(title: str | None) -> str:
    return " ".join((title or "").split())


def show(
    session_id: SessionArgument,
    limit: Annotated[
        int | None, typer.Option(min=0, show_default="50", help="Number of newest messages to show.")
    ] = None,
    context: Annotated[
        bool, typer.Option("--context", help="Show the context of the next prompt and its tokens instead.")
    ] = False,
    max_tokens: Annotated[
        int | None, typer.Option(min=1, show_default="no budget", help="Token budget of the prompt; needs --context.")
    ] = None,
    tenant: TenantOption = DEFAULT_TENANT,
    postgres: PostgresOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a session: its timeline and its newest messages.

    With --context, show the context of the next prompt instead.
    """
    if max_tokens is not None and not context:
        raise typer.BadParameter("--max-tokens needs --context.")
    if context and limit is not None:
        raise typer.BadParameter("--limit cannot be used with --context; use --max-tokens.")
    with memory_on(postgres) as memory:
        session = session_of(memory, tenant, session_id)
        if context:
            _show_context(session.context(max_tokens), as_json=as_json)
            return
        events = session.events()
        run = run_of(session) if session.info.run_status else None
        messages = session.history(50 if limit is None else limit)
        successors = _successors(memory.tenant(tenant).sessions, session.info)
    if as_json:
        _print_json(
            {
                "session": session.info.to_dict(),
                **(run_as_json(run) if run else {}),
                "events": [event.to_dict() for event in events],
                "messages": [message.to_dict() for message in messages],
                **({"continued_by": successors} if successors else {}),
            }
        )
    else:
        _show_session(session.info, events, messages, run, successors)


def _successors(sessions: "Sessions", info: "SessionInfo") -> list[str]:
    """Return the sessions that continue an ended one under its id, the newest first; forks are no such sessions."""
    if info.is_active:
        return []
    later = sessions.list(user_id=info.user_id, kind=info.kind, created_after=info.created_at, order="created")
    children = [each.id for each in later if each.parent_id == info.id]
    return [id for id in children if "continues" in sessions.get(id).events()[0].data]


def _show_context(context: "Context", *, as_json: bool) -> None:
    from chatmemory.cli.context_table import context_as_json, show_context
    from chatmemory.cli.terminal import stdout, text

    if as_json:
        _print_json(context_as_json(context))
        return
    console = stdout()
    if context.summary_text:
        cost = f" {context.tokens_by_part['summary']:,} tokens"
        console.print(text("summary", ROLE_STYLES["system"]) + text(cost, "dim"))
        console.print(text(context.summary_text), soft_wrap=True)
    for message in context:
        show_message(console, message, tokens=True)
    show_context(context)


def _show_session(
    info: "SessionInfo", events: "list[Event]", messages: "list[Message]", run: "Run | None", successors: list[str]
) -> None:
    from rich.table import Table

    from chatmemory.cli.terminal import stdout, text
    from chatmemory.cli.timeline import show_timeline

    console = stdout()
    console.print(text(_one_line(info.title) or "untitled", "bold"))
    facts = Table.grid(padding=(0, 2))
    for name, value in {**_session_facts(info), "continued by": "\n".join(successors)}.items():
        if not value:
            continue
        facts.add_row(text(name, "dim"), text(value))
    console.print(facts)
    if run is not None:
        show_run(console, run)
    console.rule("timeline", style="dim", align="left")
    show_timeline(console, events)
    console.rule("messages", style="dim", align="left")
    omitted = info.message_count - len(messages)
    if omitted > 0:
        console.print(text(f"… {omitted:,} older, see --limit", "dim"))
    for message in messages:
        show_message(console, message)


def _session_facts(info: "SessionInfo") -> dict[str, str]:
    from chatmemory.cli.terminal import clock

    facts = {
        "id": info.id,
        "user": info.user_id,
        "kind": info.kind,
        "status": info.status,
        **run_facts(info),
        "messages": f"{info.message_count:,}",
        "created": clock(info.created_at),
        "last active": clock(info.last_active_at),
        "ended": clock(info.ended_at),
        "parent": info.parent_id or "",
    }
    for name in ("metadata", "details", "results"):
        value = getattr(info, name)
        facts[name] = _compact(value) if value else ""
        if len(facts[name]) > SHOWN:
            facts[name] = f"{facts[name][:SHOWN]} … ({len(facts[name]):,} characters; --json shows all)"
    return {name: value for name, value in facts.items() if value}


def _compact(value: object) -> str:
    import json

    return json.dumps(value, ensure_ascii=False)


def show_message(console: "Console", message: "Message", *, tokens: bool = False) -> None:
    """Print a whole message; blocks that are not text as JSON."""
    from chatmemory.cli.terminal import clock, text

    head = text(f"{message.seq} ", "dim") + text(message.role, ROLE_STYLES[message.role])
    cost = f" {message.tokens:,} tokens" if tokens and message.tokens else ""
    console.print(head + text(f" {clock(message.created_at)}{cost}", "dim"))
    console.print(text(message.content if isinstance(message.content, str) else _blocks(message)), soft_wrap=True)


def _blocks(message: "Message") -> str:
    assert isinstance(message.content, list)
    return "\n".join(
        block["text"] if block.get("type") in TEXTS and isinstance(block.get("text"), str) else _compact(block)
        for block in message.content
    )


OutputOption = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", show_default="stdout", help="The file to write.")
]


def write_lines(lines: "Iterator[str]", output: Path | None) -> None:
    """Write the lines of an export to a file, or to stdout."""
    from chatmemory.cli.terminal import many, note, write

    if output is None:
        for line in lines:
            write(line + "\n")
        return
    count = 0
    with output.open("w", encoding="utf-8") as file:
        for line in lines:
            file.write(line + "\n")
            count += 1
    note(f"{many(count, 'line')} written to {output}")


def export(
    session_id: Annotated[str | None, typer.Argument(metavar="[ID]", help="The session's id.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Export the whole tenant instead, as JSON Lines.")] = False,
    format: Annotated[Format, typer.Option(help="json, which `chatmemory import` reads, or markdown.")] = Format.JSON,
    output: OutputOption = None,
    tenant: TenantOption = DEFAULT_TENANT,
    postgres: PostgresOption = None,
) -> None:
    """Export a whole session, or the whole tenant.

    `chatmemory import` reads both; of the JSON Lines of a tenant, the sessions with their messages and metrics.
    """
    from chatmemory.cli.terminal import many, note, write

    if (session_id is None) != everything:
        raise typer.BadParameter("give the id of a session, or --all.")
    if everything and format != Format.JSON:
        raise typer.BadParameter("--all writes JSON Lines; --format is for one session.")
    with memory_on(postgres) as memory:
        if session_id is None:
            write_lines(memory.tenant(tenant).export(), output)
            return
        session = session_of(memory, tenant, session_id)
        page = session.export(format.value)
    page = page if page.endswith("\n") else page + "\n"
    if output is None:
        write(page)
    else:
        output.write_text(page, encoding="utf-8")
        note(f"{many(session.info.message_count, 'message')} written to {output}")

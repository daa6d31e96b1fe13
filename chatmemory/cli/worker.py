"""`worker`: learning from conversations until it is stopped."""

from typing import TYPE_CHECKING, Annotated

import typer

from chatmemory.cli.options import JsonOption, PostgresOption

if TYPE_CHECKING:
    from chatmemory import Report
    from chatmemory._concurrency import AsyncFlag


NOTHING_DUE = (
    "Nothing is due: a session is due when it has ended or has enough new messages (CHATMEMORY_CONSOLIDATION_MESSAGES, "
    "CHATMEMORY_CONSOLIDATION_TOKENS); after a failure it waits. `chatmemory doctor` counts waiting sessions."
)


def worker(
    once: Annotated[
        bool, typer.Option("--once", help="Process the sessions that are due now, then exit (for cron).")
    ] = False,
    concurrency: Annotated[int, typer.Option(min=1, max=1000, help="Sessions processed in parallel.")] = 1,
    retry_parked: Annotated[bool, typer.Option("--retry-parked", help="Retry parked sessions first.")] = False,
    postgres: PostgresOption = None,
    as_json: JsonOption = False,
) -> None:
    """Learn from conversations of all tenants as they become due.

    The first SIGTERM or Ctrl-C stops the worker after its current batches; a second one releases them and stops it at
    once. Any number of workers may run. With --once the exit code is 1 if learning from a session failed.
    """
    from chatmemory import AsyncChatMemory
    from chatmemory._concurrency import until_signalled
    from chatmemory.cli.terminal import log_to_stderr, note, to_json

    async def work(stop: "AsyncFlag") -> "Report":
        async with AsyncChatMemory.open(postgres) as memory:
            if retry_parked:
                await memory.retry_parked()
            if not once:
                note("Working. SIGTERM or Ctrl-C stops the worker after its current batches.")
            return await memory.run_worker(concurrency=concurrency, stop=stop, until_idle=once)

    log_to_stderr()
    report = until_signalled(work)
    if as_json:
        print(to_json(report.to_dict()))
    else:
        _show(report, once=once)
    if once and report.failed:
        raise typer.Exit(1)


def _show(report: "Report", *, once: bool) -> None:
    from chatmemory.cli.terminal import many, stdout, text

    console = stdout()
    if once and not (report.processed or report.failed):
        console.print(text(NOTHING_DUE))
    else:
        console.print(text(f"Learnt from {many(report.processed, 'batch')} of messages."))
    if report.failed:
        console.print(
            text(f"{many(report.failed, 'attempt')} failed and will be retried; the log has the reasons.", "red")
        )
    if report.parked:
        parked = f"{many(report.parked, 'session')} parked after too many failures; --retry-parked retries them."
        console.print(text(parked, "yellow"))

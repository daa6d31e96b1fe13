"""`worker`: learns from conversations until it is told to stop."""

from typing import TYPE_CHECKING, Annotated

import typer

from chatmemory.cli.options import JsonOption, PostgresOption

if TYPE_CHECKING:
    from chatmemory import Report
    from chatmemory._concurrency import AsyncEvent


NOTHING_DUE = (
    "Nothing is due: a session is learnt from when it has ended, or has much to learn from (consolidation_messages, "
    "consolidation_tokens); after a failure it waits. `chatmemory doctor` counts those that wait."
)


def worker(
    once: Annotated[bool, typer.Option("--once", help="Learn from what is due now, then end: for cron.")] = False,
    concurrency: Annotated[int, typer.Option(min=1, max=1000, help="From how many sessions at once.")] = 1,
    retry_parked: Annotated[
        bool, typer.Option("--retry-parked", help="First take up again the sessions that were given up.")
    ] = False,
    postgres: PostgresOption = None,
    as_json: JsonOption = False,
) -> None:
    """Learn from conversations of all tenants as they become due.

    SIGTERM or Ctrl-C ends it when what it has begun is finished; a second one hands back what it has begun and ends
    it at once. Any number of workers may run. With --once it exits with 1 if learning from a session failed.
    """
    from chatmemory import AsyncChatMemory
    from chatmemory._concurrency import until_signalled
    from chatmemory.cli.terminal import note, to_json

    async def work(stop: "AsyncEvent") -> "Report":
        async with AsyncChatMemory.open(postgres) as memory:
            if retry_parked:
                await memory.retry_parked()
            if not once:
                note("Working. SIGTERM or Ctrl-C ends it when what it has begun is finished.")
            return await memory.run_worker(concurrency=concurrency, stop=stop, until_idle=once)

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
        console.print(text(f"Learnt from {many(report.processed, 'batch').replace('batchs', 'batches')}."))
    if report.failed:
        console.print(
            text(f"{many(report.failed, 'attempt')} failed and will be tried again; the log says why.", "red")
        )
    if report.parked:
        parked = f"{many(report.parked, 'session')} parked after too many failures; --retry-parked takes them up again."
        console.print(text(parked, "yellow"))

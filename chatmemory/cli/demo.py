"""`demo`: a writing process is killed, another one continues, and no acknowledged message is missing."""

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import IO, TYPE_CHECKING, Any
from uuid import uuid4

import typer

from chatmemory.cli.options import DEFAULT_TENANT, PostgresOption, TenantOption, command, memory_on

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

    from chatmemory import ChatMemory, Message
    from chatmemory.cli.demo_script import Scene

PATIENCE_SECONDS = 60


def demo(tenant: TenantOption = DEFAULT_TENANT, postgres: PostgresOption = None) -> None:
    """Watch conversations survive a kill -9.

    Two people hold three conversations through a LangChain chain. The process they talk to is killed while it
    writes at full speed, and a second one continues. The exit code is 1 if an acknowledged message is missing. The
    sessions are kept, for `chatmemory sessions` and `chatmemory show`.
    """
    from chatmemory.cli.terminal import stdout

    _need_langchain()
    began = time.monotonic()
    with memory_on(postgres) as memory:
        play = Play(memory, tenant, postgres, stdout())
        play.open()
        play.first_half()
        play.survey()
        play.second_half()
        findings = play.findings()
    good = _verdict(play, findings, time.monotonic() - began)
    _show_commands(play)
    if not good:
        raise typer.Exit(1)


def _need_langchain() -> None:
    from chatmemory.errors import missing_extra

    if find_spec("langchain_core") is None:
        raise missing_extra("The demo", "langchain-core", "langchain")


@dataclass
class Finding:
    """The acknowledged and the stored messages of one session."""

    session: str
    acknowledged: int
    found: int
    lost: int
    doubled: int
    contiguous: bool
    complete: bool  # the whole script is stored in order, and the last answer refers to the first line

    @property
    def good(self) -> bool:
        """True if all messages are stored, once and in order."""
        return self.contiguous and self.complete and not self.lost and not self.doubled


@dataclass
class Writer:
    """A writing process and its output."""

    process: "subprocess.Popen[bytes]"
    errors: "IO[bytes]"
    turns: int = 0

    def lines(self) -> Iterator[dict[str, Any]]:
        """Yield the lines of its output until it ends; an incomplete line is skipped."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.endswith(b"\n"):
                yield json.loads(line)

    def check(self) -> None:
        """Raise if the process failed by itself."""
        from chatmemory.errors import StorageError

        if self.process.wait(PATIENCE_SECONDS) not in (0, -9):
            self.errors.seek(0)
            reason = self.errors.read().decode(errors="replace").strip()
            raise StorageError(f"The writing process failed: {reason or 'it gave no reason'}")


class Play:
    """One run of the demo."""

    def __init__(self, memory: "ChatMemory", tenant: str, postgres: str | None, console: "Console") -> None:
        from chatmemory.cli.demo_script import SCENES, TURNS

        self.memory = memory
        self.tenant = tenant
        self.postgres = postgres
        self.console = console
        self.run = uuid4().hex[:6]
        self.scenes = SCENES
        self.turns = TURNS
        self.acknowledged: dict[str, dict[str, str]] = {self.session(scene): {} for scene in SCENES}
        self.lost_at_the_kill: Counter[str] = Counter()

    def session(self, scene: "Scene") -> str:
        """The id of a scene's session."""
        from chatmemory.cli.demo_script import session_id

        return session_id(self.run, scene)

    def open(self) -> None:
        """Print an introduction, and start the database."""
        from chatmemory.cli.terminal import text

        say = self.console.print
        say()
        say(text("Will they remember?", "bold"))
        say("Ada and Grace hold three conversations with a LangChain chain, whose model is")
        say("scripted. The process they talk to is killed while it writes. Whatever it had")
        say("acknowledged by then must be there afterwards.")
        say()
        with self.console.status("starting the database …"):
            self.memory.tenant(self.tenant).sessions.list(limit=0)

    def first_half(self) -> None:
        """Let a process write, and kill it while it does."""
        from chatmemory.cli.terminal import text

        total = len(self.scenes) * self.turns
        fatal = total // 2 + random.randint(-total // 8, total // 8)  # noqa: S311  # not for cryptography
        with self._writer(self.turns - 1) as writer, self._progress() as progress:
            self._heading(f"1  Process {writer.process.pid} writes", progress)
            for report in self._follow(writer, progress):
                if "turn" in report and report["turn"] == 1:
                    self._quote(report, progress)
                if writer.turns == fatal:
                    writer.process.kill()
            writer.check()
        self.console.print(text(f"   ✗ kill -9 {writer.process.pid}, in the middle of writing", "bold red"))

    def survey(self) -> None:
        """Count the stored messages right after the kill, before the second process writes."""
        from chatmemory.cli.terminal import text

        for id, acknowledged in self.acknowledged.items():
            stored = {message.id: message.text for message in self._messages(id)}
            self.lost_at_the_kill[id] = _missing(acknowledged, stored)
        acknowledged_count = sum(map(len, self.acknowledged.values()))
        stored_count = acknowledged_count - self.lost_at_the_kill.total()
        self.console.print(
            text(f"   {acknowledged_count} messages were acknowledged; {stored_count} of them are in the database")
        )
        self.console.print()

    def _messages(self, id: str) -> "list[Message]":
        from chatmemory.errors import SessionNotFoundError

        try:
            return list(self.memory.tenant(self.tenant).sessions.get(id).messages())
        except SessionNotFoundError:
            return []

    def second_half(self) -> None:
        """Let another process continue from the stored state, and finish."""
        with self._writer(self.turns) as writer, self._progress() as progress:
            self._heading(f"2  Process {writer.process.pid} reads where they were, and continues", progress)
            for report in self._follow(writer, progress):
                if "turn" in report and report["turn"] == self.turns:
                    self._quote(report, progress)
            writer.check()
        self.console.print()

    def _writer(self, last_turn: int) -> "_Running":
        environment = {**os.environ, "LANGSMITH_TRACING": "false", "LANGCHAIN_TRACING_V2": "false"}
        if self.postgres is not None:
            environment["CHATMEMORY_POSTGRES_URL"] = self.postgres
        return _Running([self.tenant, self.run, str(last_turn)], environment)

    def _progress(self) -> "Progress":
        from rich.progress import BarColumn, Progress, TextColumn

        columns = (TextColumn("  "), BarColumn(30), TextColumn("{task.completed} messages acknowledged"))
        return Progress(*columns, console=self.console)

    def _heading(self, heading: str, progress: "Progress") -> None:
        from chatmemory.cli.terminal import text

        progress.console.print(text(heading, "bold"))

    def _follow(self, writer: Writer, progress: "Progress") -> Iterator[dict[str, Any]]:
        """Record each acknowledged message that the writer reports."""
        task = progress.add_task("", total=2 * self.turns * len(self.scenes))
        for report in writer.lines():
            if "turn" in report:
                writer.turns += 1
                self.acknowledged[report["session"]].update(report["messages"])
            progress.update(task, completed=sum(map(len, self.acknowledged.values())))
            yield report

    def _quote(self, report: dict[str, Any], progress: "Progress") -> None:
        from chatmemory.cli.terminal import text

        [question, reply] = report["messages"].values()
        user = next(scene.user for scene in self.scenes if scene.name == report["scene"])
        progress.console.print(text(f"   {user.title():<6} ", "cyan") + text(question))
        progress.console.print(text("   model  ", "green") + text(reply))

    def findings(self) -> list[Finding]:
        """Compare the acknowledged messages with the stored ones."""
        return [self._finding(scene, self._messages(self.session(scene))) for scene in self.scenes]

    def _finding(self, scene: "Scene", messages: "list[Message]") -> Finding:
        from chatmemory.cli.demo_script import answer

        id = self.session(scene)
        stored = {message.id: message.text for message in messages}
        lines = [message.text for message in messages if message.role == "user"]
        script = [scene.line(turn) for turn in range(1, self.turns + 1)]
        return Finding(
            session=id,
            acknowledged=len(self.acknowledged[id]),
            found=len(messages),
            lost=self.lost_at_the_kill[id] + _missing(self.acknowledged[id], stored),
            doubled=len(lines) - len(set(lines)),
            contiguous=[message.seq for message in messages] == list(range(1, len(messages) + 1)),
            complete=lines == script and messages[-1].text == answer(script),
        )


def _missing(acknowledged: dict[str, str], stored: dict[str, str]) -> int:
    return sum(stored.get(id) != text for id, text in acknowledged.items())


class _Running:
    """Runs a writer; leaving the block kills it."""

    def __init__(self, arguments: list[str], environment: dict[str, str]) -> None:
        self._command = [sys.executable, "-m", "chatmemory.cli.demo_writer", *arguments]
        self._environment = environment

    def __enter__(self) -> Writer:
        self._errors = tempfile.TemporaryFile()  # closed in __exit__
        self._process = subprocess.Popen(  # noqa: S603  # ourselves
            self._command, stdout=subprocess.PIPE, stderr=self._errors, env=self._environment
        )
        return Writer(self._process, self._errors)

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._errors.close()


def _verdict(play: Play, findings: list[Finding], seconds: float) -> bool:
    from chatmemory.cli.terminal import text

    _show_table(play, findings)
    acknowledged, found, lost, doubled = (
        sum(getattr(finding, name) for finding in findings) for name in ("acknowledged", "found", "lost", "doubled")
    )
    good = all(finding.good for finding in findings)
    play.console.print()
    if good and found > acknowledged:
        unacknowledged = f"{found - acknowledged} messages were stored, but the kill came before their acknowledgement."
        play.console.print(text(unacknowledged, "dim"))
    if good:
        verdict = (
            f"All {acknowledged} acknowledged messages are stored: none lost, none doubled, in order. ({seconds:.1f} s)"
        )
        play.console.print(text("✓ " + verdict, "bold green"))
    else:
        verdict = (
            f"Of {acknowledged} acknowledged messages {lost} are lost, {doubled} are doubled, {found} found in all."
        )
        play.console.print(text("✗ " + verdict, "bold red"))
    return good


def _show_table(play: Play, findings: list[Finding]) -> None:
    from rich.table import Table

    from chatmemory.cli.terminal import text

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("session", no_wrap=True)
    for name in ("acknowledged", "found", "lost", "doubled"):
        table.add_column(name, justify="right")
    table.add_column("seq")
    for finding in findings:
        seq = f"1-{finding.found}, no gap" if finding.contiguous else "has gaps"
        counts = (finding.acknowledged, finding.found, finding.lost, finding.doubled)
        style = "green" if finding.good else "bold red"
        table.add_row(text(finding.session, "cyan"), *map(str, counts), text(seq, style))
    play.console.print(table)


def _show_commands(play: Play) -> None:
    from chatmemory.cli.terminal import text

    first = play.scenes[0]
    say = play.console.print
    say()
    say("The database is kept. Look around, or continue a conversation:")
    for words in (
        ("sessions",),
        ("show", play.session(first)),
        ("chat", "--session", play.session(first), "--user", first.user),
    ):
        say(text("   " + command(*words, tenant=play.tenant, postgres=play.postgres)), soft_wrap=True)

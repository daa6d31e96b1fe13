"""`demo`: a process that remembers is killed while it writes; another goes on; nothing acknowledged is missing."""

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
    writes at full speed, and a second one goes on. Exits with 1 if a single acknowledged message is missing. The
    sessions stay, for `chatmemory sessions` and `chatmemory show`.
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
    from chatmemory.errors import MissingExtraError

    if find_spec("langchain_core") is None:
        raise MissingExtraError('The demo runs a LangChain chain: pip install "chatmemory[langchain]"')


@dataclass
class Finding:
    """One session: what was acknowledged, and what is there."""

    session: str
    acknowledged: int
    found: int
    lost: int
    doubled: int
    contiguous: bool
    complete: bool  # everything of the script was said in order, and the last answer knows the first line

    @property
    def good(self) -> bool:
        """Whether all is there, once and in order."""
        return self.contiguous and self.complete and not self.lost and not self.doubled


@dataclass
class Writer:
    """A talking process, and what it has told."""

    process: "subprocess.Popen[bytes]"
    trouble: "IO[bytes]"
    turns: int = 0

    def lines(self) -> Iterator[dict[str, Any]]:
        """What it tells, until it ends; a line that was cut off does not count."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.endswith(b"\n"):
                yield json.loads(line)

    def check(self) -> None:
        """Raise if it failed by itself."""
        from chatmemory.errors import StorageError

        if self.process.wait(PATIENCE_SECONDS) not in (0, -9):
            self.trouble.seek(0)
            reason = self.trouble.read().decode(errors="replace").strip()
            raise StorageError(f"The talking process failed: {reason or 'it gave no reason'}")


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
        """Say what is to come, and have the database ready."""
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
        """Let a process talk, and kill it while it writes."""
        from chatmemory.cli.terminal import text

        total = len(self.scenes) * self.turns
        fatal = total // 2 + random.randint(-total // 8, total // 8)  # noqa: S311  # any moment will do
        with self._writer(self.turns - 1) as writer, self._progress() as progress:
            self._heading(f"1  Process {writer.process.pid} talks", progress)
            for told in self._follow(writer, progress):
                if "turn" in told and told["turn"] == 1:
                    self._quote(told, progress)
                if writer.turns == fatal:
                    writer.process.kill()
            writer.check()
        self.console.print(text(f"   ✗ kill -9 {writer.process.pid}, in the middle of writing", "bold red"))

    def survey(self) -> None:
        """Look what is there right after the kill, before anybody could say it again."""
        from chatmemory.cli.terminal import text

        for id, known in self.acknowledged.items():
            stored = {message.id: message.text for message in self._messages(id)}
            self.lost_at_the_kill[id] = _missing(known, stored)
        told = sum(map(len, self.acknowledged.values()))
        there = told - self.lost_at_the_kill.total()
        self.console.print(text(f"   {told} messages were acknowledged; {there} of them are in the database"))
        self.console.print()

    def _messages(self, id: str) -> "list[Message]":
        from chatmemory.errors import SessionNotFoundError

        try:
            return list(self.memory.tenant(self.tenant).sessions.get(id).messages())
        except SessionNotFoundError:
            return []

    def second_half(self) -> None:
        """Let another process ask the memory where it stands, and finish."""
        with self._writer(self.turns) as writer, self._progress() as progress:
            self._heading(f"2  Process {writer.process.pid} asks the memory where they were, and goes on", progress)
            for told in self._follow(writer, progress):
                if "turn" in told and told["turn"] == self.turns:
                    self._quote(told, progress)
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
        """Note each acknowledged message, as the writer tells of it."""
        task = progress.add_task("", total=2 * self.turns * len(self.scenes))
        for told in writer.lines():
            if "turn" in told:
                writer.turns += 1
                self.acknowledged[told["session"]].update(told["messages"])
            progress.update(task, completed=sum(map(len, self.acknowledged.values())))
            yield told

    def _quote(self, told: dict[str, Any], progress: "Progress") -> None:
        from chatmemory.cli.terminal import text

        [said, reply] = told["messages"].values()
        user = next(scene.user for scene in self.scenes if scene.name == told["scene"])
        progress.console.print(text(f"   {user.title():<6} ", "cyan") + text(said))
        progress.console.print(text("   model  ", "green") + text(reply))

    def findings(self) -> list[Finding]:
        """Compare what was acknowledged with what is there."""
        return [self._finding(scene, self._messages(self.session(scene))) for scene in self.scenes]

    def _finding(self, scene: "Scene", messages: "list[Message]") -> Finding:
        from chatmemory.cli.demo_script import answer

        id = self.session(scene)
        stored = {message.id: message.text for message in messages}
        said = [message.text for message in messages if message.role == "user"]
        script = [scene.line(turn) for turn in range(1, self.turns + 1)]
        return Finding(
            session=id,
            acknowledged=len(self.acknowledged[id]),
            found=len(messages),
            lost=self.lost_at_the_kill[id] + _missing(self.acknowledged[id], stored),
            doubled=len(said) - len(set(said)),
            contiguous=[message.seq for message in messages] == list(range(1, len(messages) + 1)),
            complete=said == script and messages[-1].text == answer(script),
        )


def _missing(known: dict[str, str], stored: dict[str, str]) -> int:
    return sum(stored.get(id) != text for id, text in known.items())


class _Running:
    """A writer that does not outlive its block."""

    def __init__(self, arguments: list[str], environment: dict[str, str]) -> None:
        self._command = [sys.executable, "-m", "chatmemory.cli.demo_writer", *arguments]
        self._environment = environment

    def __enter__(self) -> Writer:
        self._trouble = tempfile.TemporaryFile()  # closed in __exit__
        self._process = subprocess.Popen(  # noqa: S603  # ourselves
            self._command, stdout=subprocess.PIPE, stderr=self._trouble, env=self._environment
        )
        return Writer(self._process, self._trouble)

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._trouble.close()


def _verdict(play: Play, findings: list[Finding], seconds: float) -> bool:
    from chatmemory.cli.terminal import text

    _show_table(play, findings)
    told, found, lost, doubled = (
        sum(getattr(finding, name) for finding in findings) for name in ("acknowledged", "found", "lost", "doubled")
    )
    good = all(finding.good for finding in findings)
    play.console.print()
    if good and found > told:
        unheard = f"{found - told} messages were stored when the kill came, and could not be acknowledged any more."
        play.console.print(text(unheard, "dim"))
    if good:
        verdict = f"All {told} acknowledged messages are there: none lost, none doubled, in order. ({seconds:.1f} s)"
        play.console.print(text("✓ " + verdict, "bold green"))
    else:
        verdict = f"Of {told} acknowledged messages {lost} are lost, {doubled} are doubled, {found} found in all."
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
    say("The database stays. Look around, or go on talking:")
    for words in (
        ("sessions",),
        ("show", play.session(first)),
        ("chat", "--session", play.session(first), "--user", first.user),
    ):
        say(text("   " + command(*words, tenant=play.tenant, postgres=play.postgres)), soft_wrap=True)

"""`chat`: a conversation in the terminal, stored line by line."""

import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Protocol

import typer

from chatmemory.cli.options import (
    DEFAULT_TENANT,
    PostgresOption,
    TenantOption,
    UserOption,
    command,
    memory_on,
    session_of,
    user_or_me,
)

if TYPE_CHECKING:
    from chatmemory import Context, Session, Sessions

DEFAULT_MODEL = "gpt-4o-mini"
SHOWN_ON_RESUME = 6
MAX_QUERY_CHARACTERS = 2000


class Responder(Protocol):
    """The other side of the conversation."""

    introduction: str

    def reply(self, context: "Context") -> Iterator[str]:
        """Yield pieces of the answer to the last message of a context."""


def chat(
    session_id: Annotated[
        str | None, typer.Option("--session", metavar="ID", show_default="a new one", help="Resume this session.")
    ] = None,
    model: Annotated[
        str, typer.Option("--model", envvar="OPENAI_MODEL", help="The model that answers.")
    ] = DEFAULT_MODEL,
    base_url: Annotated[
        str | None,
        typer.Option(
            "--base-url",
            envvar="OPENAI_BASE_URL",
            show_default="OpenAI if OPENAI_API_KEY is set, else an offline responder",
            help="An OpenAI-compatible server.",
        ),
    ] = None,
    context: Annotated[
        int | None,
        typer.Option(min=1, help="Newest messages in the prompt; default: CHATMEMORY_MAX_CONTEXT_MESSAGES."),
    ] = None,
    recall: Annotated[
        bool, typer.Option("--recall/--no-recall", help="Recall memories for each line, as data in the prompt.")
    ] = True,
    user: UserOption = None,
    tenant: TenantOption = DEFAULT_TENANT,
    postgres: PostgresOption = None,
) -> None:
    """Chat in the terminal; each line is stored at once. Ctrl-D or /quit ends the conversation.

    The server's key is taken from OPENAI_API_KEY.
    """
    responder = responder_for(base_url, model)
    with memory_on(postgres) as memory:
        me = user_or_me(user)
        requested = session_of(memory, tenant, session_id, me) if session_id else None
        most = context or memory.settings.max_context_messages
        conversation = Conversation(memory.tenant(tenant).sessions, me, responder, most, recall=recall)
        conversation.begin(requested)
        try:
            for line in _lines():
                conversation.answer(line)
        finally:
            conversation.show_resume_command(tenant, postgres)
    if conversation.failures and not sys.stdin.isatty():
        raise typer.Exit(1)


def responder_for(base_url: str | None, model: str) -> Responder:
    """Return the model of a server if one is configured, else the offline responder."""
    from chatmemory.cli.responders import Offline, OpenAIServer

    key = os.environ.get("OPENAI_API_KEY", "")
    return OpenAIServer(base_url, key, model) if base_url or key else Offline()


def _lines() -> Iterator[str]:
    """Yield the user's lines until the end of the input."""
    if sys.stdin.isatty():
        yield from _typed()
        return
    sys.stdin.reconfigure(errors="replace")  # type: ignore[union-attr]  # invalid bytes
    for line in sys.stdin:
        if line.strip():
            yield line.rstrip("\r\n")


def _typed() -> Iterator[str]:
    import contextlib

    with contextlib.suppress(ImportError):
        import readline  # noqa: F401  # gives input() its line editing
    with contextlib.suppress(EOFError):
        while (line := input("you> ")).strip() != "/quit":
            if line.strip():
                yield line


class Conversation:
    """A conversation; each line and each reply is stored before the next step."""

    def __init__(self, sessions: "Sessions", user: str, responder: Responder, context: int, *, recall: bool) -> None:
        self._sessions = sessions
        self._user = user
        self._responder = responder
        self._context = context
        self._recall = recall
        self._session: Session | None = None
        self.failures = 0

    def begin(self, requested: "Session | None") -> None:
        """Resume a session; a new one is created with its first message."""
        from chatmemory.cli.terminal import note

        note(self._responder.introduction)
        if sys.stdin.isatty():
            note("/quit or Ctrl-D ends the conversation.")
        if requested is None:
            self._sessions.list(limit=0)  # fail now rather than after the first line
        else:
            self._resume(requested)

    def _resume(self, requested: "Session") -> None:
        from chatmemory.cli.terminal import note

        self._session = self._sessions.resume_or_create(
            requested.id, user_id=self._user, kind=requested.info.kind, on_expired="reopen"
        )
        if self._session.id != requested.id:
            status = requested.refresh().status
            note(f"Session {requested.id} is {status} and accepts no more messages: this is a new one.")
        else:
            self._show_recent(self._session)

    def _show_recent(self, session: "Session") -> None:
        from chatmemory.cli.sessions import show_message
        from chatmemory.cli.terminal import note, stderr

        note(f"Resuming {session.info.title or 'this session'}: {session.info.message_count} messages so far.")
        for message in session.history(SHOWN_ON_RESUME):
            show_message(stderr(), message)

    def answer(self, line: str) -> None:
        """Store a line, answer it and store the answer; an error does not end the conversation."""
        from chatmemory.cli.responders import ReplyError
        from chatmemory.cli.terminal import complain
        from chatmemory.errors import InvalidInputError

        try:
            self._store_and_reply(line)
        except InvalidInputError as error:
            self.failures += 1
            complain(f"Not stored: {error}")
        except ReplyError as error:
            self.failures += 1
            complain(f"{error} Your message is stored; type another to continue.")

    def _store_and_reply(self, line: str) -> None:
        if self._session is None:
            self._session = self._sessions.create(user_id=self._user)
        self._session.append("user", line)
        query = line[-MAX_QUERY_CHARACTERS:] if self._recall else None
        context = self._session.context(max_messages=self._context, query=query)
        self._session.append("assistant", _print_reply(self._responder.reply(context)))

    def show_resume_command(self, tenant: str, postgres: str | None) -> None:
        """Print the command that resumes the conversation."""
        from chatmemory.cli.terminal import note

        if self._session is not None:
            words = ["chat", "--session", self._session.id]
            if self._user != user_or_me(os.environ.get("CHATMEMORY_USER")):
                words += ["--user", self._user]
            note(f"\nResume with: {command(*words, tenant=tenant, postgres=postgres)}")


def _print_reply(pieces: Iterator[str]) -> str:
    """Print a reply piece by piece, and return it."""
    from chatmemory.cli.terminal import plain

    printed = []
    try:
        for piece in pieces:
            printed.append(piece)
            print(plain(piece), end="", flush=True)
    finally:
        if printed:
            print(flush=True)
    return "".join(printed)

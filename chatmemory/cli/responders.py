"""Responders of `chatmemory chat`: a model behind an OpenAI-compatible server, or an offline one."""

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING

from chatmemory.context.records import Context
from chatmemory.records import shorten

if TYPE_CHECKING:
    from openai import OpenAI
    from openai.types.chat import ChatCompletionMessageParam

TIMEOUT_SECONDS = 120
_CLIENT_PACKAGES = ("openai", "httpx", "httpx2", "httpcore", "httpcore2", "json")


class ReplyError(Exception):
    """The server gave no reply."""


class Offline:
    """Reports stored messages, without a model."""

    introduction = (
        "No language model is configured: an offline responder answers, which only reports what is stored. "
        "Set OPENAI_API_KEY, or --base-url for any OpenAI-compatible server."
    )

    def reply(self, context: Context) -> Iterator[str]:
        """Report that the message is stored, an earlier one, and the best memory."""
        history = context.messages
        newest = history[-1]
        yield f"[offline responder, not a language model] Stored as message {newest.seq}."
        earlier = [message for message in history[:-1] if message.role == "user"]
        if earlier:
            yield f" I also remember that you said: “{_shown(earlier[-1].text)}”"
        if context.memories:
            yield f" I recall: “{_shown(context.memories[0].memory.text)}”"


def _shown(text: str) -> str:
    return shorten(" ".join(text.split()), 200)


class OpenAIServer:
    """A chat model behind OpenAI's chat completions protocol."""

    def __init__(self, base_url: str | None, key: str, model: str) -> None:
        self._base_url = base_url
        self._key = key
        self._model = model
        self.introduction = f"{model} answers, at {base_url or 'OpenAI'}."

    @cached_property
    def _client(self) -> "OpenAI":
        from openai import OpenAI

        return OpenAI(
            api_key=self._key or "none",  # local servers need no key
            base_url=self._base_url,
            timeout=TIMEOUT_SECONDS,
            max_retries=1,
        )

    def reply(self, context: Context) -> Iterator[str]:
        """Stream the model's reply.

        Raises:
            ReplyError: The server failed, or its reply is empty.
        """
        has_text = False
        try:
            for piece in self._stream(context):
                has_text = has_text or bool(piece.strip())
                yield piece
        except Exception as error:
            if type(error).__module__.partition(".")[0] not in _CLIENT_PACKAGES:
                raise
            raise ReplyError(self._explain(error, has_text=has_text)) from None
        if not has_text:
            raise ReplyError(f"{self._place} gave an empty reply; is it an OpenAI-compatible server?")

    def _stream(self, context: Context) -> Iterator[str]:
        stream = self._client.chat.completions.create(
            model=self._model, messages=list(_as_prompt(context)), stream=True
        )
        for chunk in stream:
            if chunk.choices and chunk.choices[0].delta.content:
                yield chunk.choices[0].delta.content

    @property
    def _place(self) -> str:
        return f"The model {self._model} at {self._base_url or 'OpenAI'}"

    def _explain(self, error: Exception, *, has_text: bool) -> str:
        reason = " ".join(str(error).split()) or type(error).__name__
        if self._key:
            reason = reason.replace(self._key, "***")
        reason = shorten(reason, 300).rstrip(".")
        failure = "broke off, so its reply is not stored" if has_text else "gave no reply"
        return f"{self._place} {failure}: {reason}."


def _as_prompt(context: Context) -> "Iterator[ChatCompletionMessageParam]":
    """Yield the messages with text; tool calls and results belong to the app that made them.

    The summary and recalled memories are data in user messages: before the others, and before the newest one.
    """
    summary, notes = context.summary_text, context.memories_text
    for message in context.messages:
        if summary and message.role != "system":
            yield {"role": "user", "content": summary}
            summary = None
        if notes and message is context.messages[-1]:
            yield {"role": "user", "content": notes}
        if message.text and message.role == "user":
            yield {"role": "user", "content": message.text}
        elif message.text and message.role == "assistant":
            yield {"role": "assistant", "content": message.text}
        elif message.text and message.role == "system":
            yield {"role": "system", "content": message.text}

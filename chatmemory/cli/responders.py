"""Who answers in `chatmemory chat`: a model behind an OpenAI-compatible server, or nobody."""

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING

from chatmemory.messages.records import Message
from chatmemory.records import shorten

if TYPE_CHECKING:
    from openai import OpenAI
    from openai.types.chat import ChatCompletionMessageParam

TIMEOUT_SECONDS = 120
_FROM_THE_SERVER = ("openai", "httpx", "httpx2", "httpcore", "httpcore2", "json")


class ReplyError(Exception):
    """The server gave no reply."""


class Offline:
    """Answers without a model, from what is stored."""

    introduction = (
        "No language model is configured: an offline responder answers, which only tells what is remembered. "
        "Set OPENAI_API_KEY, or --base-url for any OpenAI-compatible server."
    )

    def reply(self, history: list[Message]) -> Iterator[str]:
        """Tell what is remembered."""
        newest = history[-1]
        yield f"[offline responder, not a language model] Stored as message {newest.seq}."
        earlier = [message for message in history[:-1] if message.role == "user"]
        if earlier:
            yield f" I also remember that you said: “{shorten(' '.join(earlier[-1].text.split()), 200)}”"


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
            api_key=self._key or "none",  # servers of one's own ask for none
            base_url=self._base_url,
            timeout=TIMEOUT_SECONDS,
            max_retries=1,
        )

    def reply(self, history: list[Message]) -> Iterator[str]:
        """Stream the model's reply.

        Raises:
            ReplyError: The server failed, or had nothing to say.
        """
        said = False
        try:
            for piece in self._stream(history):
                said = said or bool(piece.strip())
                yield piece
        except Exception as error:
            if type(error).__module__.partition(".")[0] not in _FROM_THE_SERVER:
                raise
            raise ReplyError(self._explain(error, said=said)) from None
        if not said:
            raise ReplyError(f"{self._where} gave an empty reply; is it an OpenAI-compatible server?")

    def _stream(self, history: list[Message]) -> Iterator[str]:
        stream = self._client.chat.completions.create(
            model=self._model, messages=list(_for_the_model(history)), stream=True
        )
        for chunk in stream:
            if chunk.choices and chunk.choices[0].delta.content:
                yield chunk.choices[0].delta.content

    @property
    def _where(self) -> str:
        return f"The model {self._model} at {self._base_url or 'OpenAI'}"

    def _explain(self, error: Exception, *, said: bool) -> str:
        reason = " ".join(str(error).split()) or type(error).__name__
        if self._key:
            reason = reason.replace(self._key, "***")
        reason = shorten(reason, 300).rstrip(".")
        what = "broke off, so its reply is not stored" if said else "gave no reply"
        return f"{self._where} {what}: {reason}."


def _for_the_model(history: list[Message]) -> "Iterator[ChatCompletionMessageParam]":
    """What was said, in words: calls of tools and their results belong to the app that made them."""
    for message in history:
        if message.text and message.role == "user":
            yield {"role": "user", "content": message.text}
        elif message.text and message.role == "assistant":
            yield {"role": "assistant", "content": message.text}
        elif message.text and message.role == "system":
            yield {"role": "system", "content": message.text}

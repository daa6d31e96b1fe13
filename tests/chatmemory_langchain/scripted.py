"""A chat model that plays a script, and keeps what it was sent."""

from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from pydantic import Field


class ScriptedChat(BaseChatModel):
    """Answers with the script's next line; an exception is raised instead."""

    script: list[Any]
    sent: list[list[BaseMessage]] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(
        self, tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool], **kwargs: Any
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """The script knows what it calls."""
        return self

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        self.sent.append(list(messages))
        line = self.script[len(self.sent) - 1]
        if isinstance(line, Exception):
            raise line
        return ChatResult(generations=[ChatGeneration(message=line.model_copy())])


def calling(tool: str, *arguments: dict[str, Any]) -> AIMessage:
    """An answer that calls a tool, once for each arguments."""
    calls = [
        {"name": tool, "args": each, "id": f"{tool}-{'-'.join(map(str, each.values()))}", "type": "tool_call"}
        for each in arguments
    ]
    return AIMessage("", tool_calls=calls)


def told(messages: Sequence[BaseMessage]) -> list[str]:
    """Messages as type and text, calls as the name of their tool."""
    return [
        f"{message.type}: " + (message.text or ",".join(call["name"] for call in getattr(message, "tool_calls", [])))
        for message in messages
    ]

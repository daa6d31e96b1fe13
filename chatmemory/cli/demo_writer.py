"""The writing process of the demo, which may be killed at any moment.

It reports on stdout, in lines of JSON: first the progress of each conversation, then each turn whose messages were
acknowledged. `python -m chatmemory.cli.demo_writer TENANT RUN LAST_TURN`
"""

import json
import os
import sys
import time
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import Runnable

from chatmemory import ChatMemory, ChatMemoryError, SessionNotFoundError
from chatmemory.cli.demo_script import SCENES, TURNS, Scene, answer, session_id
from chatmemory_langchain import with_memory

WAIT_SECONDS = 60  # for the kill, if the script is finished before it


class RememberingModel(BaseChatModel):
    """A chat model without a network: its answers come from the messages in the prompt."""

    @property
    def _llm_type(self) -> str:
        return "chatmemory-demo"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        lines = [str(message.content) for message in messages if message.type == "human"]
        reply_id = str(messages[-1].id).replace("said", "reply")
        return ChatResult(generations=[ChatGeneration(message=AIMessage(answer(lines), id=reply_id))])


def main() -> None:
    """Continue each conversation from its stored turns, up to LAST_TURN."""
    tenant, run, last_turn = sys.argv[1:]
    try:
        with ChatMemory.open() as memory:
            _talk(memory, tenant, run, int(last_turn))
    except ChatMemoryError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(1) from None
    if int(last_turn) < TURNS:
        time.sleep(WAIT_SECONDS)


def _talk(memory: ChatMemory, tenant: str, run: str, last_turn: int) -> None:
    chain = _chain(memory)
    done = {scene.name: _turns_stored(memory, tenant, session_id(run, scene)) for scene in SCENES}
    _report({"done": done})
    for turn in range(1, last_turn + 1):
        for scene in SCENES:
            if turn > done[scene.name]:
                _report(_take_turn(chain, tenant, run, scene, turn))


def _chain(memory: ChatMemory) -> Runnable[Any, Any]:
    prompt = ChatPromptTemplate.from_messages(
        [
            ("system", "You remember what you were told."),
            MessagesPlaceholder("history"),
            MessagesPlaceholder("said"),
        ]
    )
    return with_memory(
        prompt | RememberingModel(),
        memory,
        input_messages_key="said",
        history_messages_key="history",
        history_size=2 * TURNS,
    )


def _turns_stored(memory: ChatMemory, tenant: str, id: str) -> int:
    try:
        return memory.tenant(tenant).sessions.get(id).info.message_count // 2
    except SessionNotFoundError:
        return 0


def _take_turn(chain: Runnable[Any, Any], tenant: str, run: str, scene: Scene, turn: int) -> dict[str, Any]:
    said = HumanMessage(scene.line(turn), id=f"turn-{turn:02}-said")
    session = session_id(run, scene)
    config = {"tenant_id": tenant, "user_id": scene.user, "session_id": session}
    reply = chain.invoke({"said": [said]}, {"configurable": config})
    messages = {said.id: said.content, reply.id: reply.content}
    return {"scene": scene.name, "session": session, "turn": turn, "messages": messages}


def _report(line: dict[str, Any]) -> None:
    """Write a line with one call, so that a reader gets all of it or nothing."""
    os.write(sys.stdout.fileno(), json.dumps(line).encode() + b"\n")


if __name__ == "__main__":
    main()

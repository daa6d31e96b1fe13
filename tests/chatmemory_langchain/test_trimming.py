"""With the steps switched off, a history inside a budget is what langchain-core's own trim_messages keeps."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage, trim_messages

from chatmemory import ChatMemory
from chatmemory.messages.token_counts import PROMPT_TOKENS, message_tokens
from chatmemory.messages.tokenizer import Tokenizer
from chatmemory_langchain import ChatMemoryHistory, to_message

texts = st.text(st.sampled_from("ab é漢"), max_size=60)


@st.composite
def conversations(draw: st.DrawFn) -> list[BaseMessage]:
    """Humans, answers, tool calls with their results; perhaps a system message to begin with."""
    said: list[BaseMessage] = [SystemMessage(draw(texts))] if draw(st.booleans()) else []
    for number, step in enumerate(draw(st.lists(st.sampled_from(["human", "ai", "tools"]), max_size=12))):
        if step == "human":
            said.append(HumanMessage(draw(texts)))
        elif step == "ai":
            said.append(AIMessage(draw(texts)))
        else:
            ids = [f"c{number}-{n}" for n in range(draw(st.integers(1, 2)))]
            said.append(AIMessage(draw(texts), tool_calls=[{"name": "f", "args": {}, "id": id} for id in ids]))
            said += [ToolMessage(draw(texts), tool_call_id=id) for id in ids]
    return said


def cost(messages: list[BaseMessage]) -> int:
    """Return the tokens of messages, by chatmemory's counter."""
    counter = Tokenizer(None).best()
    stored = [to_message(message) for message in messages]
    return sum(message_tokens(counter, new.content, new.metadata or {}) for new in stored)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(said=conversations(), budget=st.integers(1, 250))
def test_the_same_as_trim_messages(memory: ChatMemory, said: list[BaseMessage], budget: int) -> None:
    """Message for message, for the same budget and the same counter."""
    begins = said[:1] if said and isinstance(said[0], SystemMessage) else []
    if PROMPT_TOKENS + cost(begins) > budget:
        return  # theirs then leaves the system message out; ours raises
    session = memory.tenant("acme").sessions.create(user_id="ann")
    history = ChatMemoryHistory(session, max_tokens=budget, trim_step=0)
    if said:
        history.add_messages(said)
    room = budget - PROMPT_TOKENS  # theirs knows nothing that a prompt costs once
    theirs = trim_messages(
        said, max_tokens=room, token_counter=cost, strategy="last", start_on="human", include_system=True
    )
    assert history.messages == theirs
    session.erase()

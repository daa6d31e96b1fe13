"""LangChain messages of every type, as hypothesis makes them."""

from typing import Any

from hypothesis import strategies as st
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
ids = texts.filter(lambda text: bool(text.strip()))
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(texts, json_values, max_size=3)
blocks = texts | objects | st.fixed_dictionaries({"type": st.just("text"), "text": texts})
contents = texts | st.lists(blocks, max_size=4)
tool_calls = st.lists(
    st.fixed_dictionaries({"name": texts, "args": objects, "id": st.none() | ids, "type": st.just("tool_call")}),
    max_size=2,
)
invalid_tool_calls = st.lists(
    st.fixed_dictionaries(
        {name: st.none() | texts for name in ("name", "args", "id", "error")} | {"type": st.just("invalid_tool_call")}
    ),
    max_size=2,
)
counts = st.integers(0, 10**6)
usages = st.fixed_dictionaries(
    {"input_tokens": counts, "output_tokens": counts, "total_tokens": counts},
    optional={
        "input_token_details": st.fixed_dictionaries({"cache_read": counts}),
        "output_token_details": st.fixed_dictionaries({"reasoning": counts}),
    },
)


def _of(cls: type[BaseMessage], **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[BaseMessage]:
    common = {
        "additional_kwargs": objects,
        "response_metadata": objects,
        "name": st.none() | texts,
        "id": st.none() | ids,
    }
    if cls is not RemoveMessage:
        fields = {"content": contents, **fields}
    return st.fixed_dictionaries({**common, **fields}).map(lambda values: cls(**values))


messages = st.one_of(
    _of(HumanMessage, mood=scalars),  # LangChain lets messages have fields of their own
    _of(SystemMessage),
    _of(
        AIMessage,
        tool_calls=tool_calls,
        invalid_tool_calls=invalid_tool_calls,
        usage_metadata=st.none() | usages,
    ),
    _of(ToolMessage, tool_call_id=texts, artifact=json_values, status=st.sampled_from(["success", "error"])),
    _of(FunctionMessage, name=texts),
    _of(ChatMessage, role=st.sampled_from(["user", "assistant", "developer", "critic"])),
    _of(RemoveMessage, id=ids),
)

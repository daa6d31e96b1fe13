import pytest
from hypothesis import given
from openai.types.chat import ChatCompletionMessageParam
from pydantic import TypeAdapter

from chatmemory import Message, NewMessage, Recalled
from chatmemory.context.request import Recalls
from chatmemory.context.trimming import build
from chatmemory.messages.token_counts import ESTIMATE
from chatmemory.records import JsonObject
from tests.unit.conversations import call, conversations, message, request, whole
from tests.unit.test_display import memory as remembered

PROTOCOL: TypeAdapter[list[ChatCompletionMessageParam]] = TypeAdapter(list[ChatCompletionMessageParam])


def sent(*messages: Message, system: str | None = None) -> list[JsonObject]:
    """Return the messages for a model, checked against the types of the openai package."""
    made = build(whole(list(messages)), request(None, system=system), ESTIMATE, "s").as_openai()
    PROTOCOL.validate_python(made, strict=False)
    return made


@given(conversations())
def test_every_conversation_is_valid(messages: list[Message]) -> None:
    """For any session, the openai package's own types accept the messages."""
    sent(*messages, system="Be brief.")


def test_roles_and_order() -> None:
    """The app's system message first, then the session's messages as they are."""
    assert sent(message(1, "user", "Hi"), message(2, "assistant", "Hello"), system="Be brief.") == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
    ]


@pytest.mark.parametrize(
    ("content", "metadata"),
    [
        ("", {"tool_calls": [call("c1")]}),
        ("", {"langchain": {"tool_calls": [{"id": "c1", "name": "look_up", "args": {"a": 1}}]}}),
        ([{"type": "tool_use", "id": "c1", "name": "look_up", "input": {"a": 1}}], {}),
    ],
)
def test_tool_calls_of_every_spelling(content: str | list[JsonObject], metadata: JsonObject) -> None:
    """OpenAI's, LangChain's and Anthropic's become OpenAI's, and the result names its call."""
    asked, answer = message(1, "assistant", content, metadata), message(2, "tool", "7", {"tool_call_id": "c1"})
    assert sent(asked, answer) == [
        {"role": "assistant", "content": None, "tool_calls": [call("c1")]},
        {"role": "tool", "content": "7", "tool_call_id": "c1"},
    ]


def test_openai_messages_come_back() -> None:
    """Messages from NewMessage.from_openai come back from as_openai."""
    call = {"id": "c1", "type": "function", "function": {"name": "look_up", "arguments": "{}"}}
    said: list[JsonObject] = [
        {"role": "user", "content": "Look it up."},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "42", "tool_call_id": "c1"},
        {"role": "assistant", "content": "It is 42."},
    ]
    new = [NewMessage.from_openai(each) for each in said]
    stored = [message(seq, each.role, each.content, dict(each.metadata or {})) for seq, each in enumerate(new, 1)]
    assert build(whole(stored), request(), ESTIMATE, "s").as_openai() == said


def test_results_as_anthropic_writes_them() -> None:
    """Blocks of a user's message there, messages of their own here; a call without its result is left out."""
    asked = [{"type": "text", "text": "Wait."}, {"type": "tool_use", "id": "c1", "name": "look_up", "input": {}}]
    answered = [{"type": "tool_result", "tool_use_id": "c1", "content": "42"}, {"type": "text", "text": "Go on."}]
    stored = [message(1, "user", "?"), message(2, "assistant", asked), message(3, "user", answered)]
    given = build(whole(stored), request(), ESTIMATE, "s").as_openai()
    assert given[2:] == [{"role": "tool", "tool_call_id": "c1", "content": "42"}, given[3]]
    assert given[3] == {"role": "user", "content": "Go on."}
    broken_off = build(whole([*stored[:2], message(3, "user", "Hello?")]), request(), ESTIMATE, "s")
    assert broken_off.unpaired == (2,)
    assert [each["role"] for each in broken_off.as_openai()] == ["user", "user"]


def test_calls_in_messages_of_their_own_become_one() -> None:
    """As the Agents SDK keeps calls that were made at once: one message asks for all of them, the results follow."""
    answers = [message(seq, "tool", text, {"tool_call_id": id}) for seq, text, id in ((6, "2", "b"), (7, "1", "a"))]
    asking = [
        message(2, "assistant", "Thinking.", {"tool_calls": [call("a")]}),
        message(3, "assistant", ""),
        message(4, "assistant", [{"type": "function_call", "call_id": "b", "name": "look_up", "arguments": "{}"}]),
        message(5, "assistant", ""),
    ]
    _, asked, *rest = sent(message(1, "user", "Look"), *asking, *answers)
    assert (asked["content"], [each["id"] for each in asked["tool_calls"]]) == ("Thinking.", ["a", "b"])
    assert [each["tool_call_id"] for each in rest] == ["b", "a"]


def test_one_of_several_calls_that_broke_off_is_left_out() -> None:
    """When the conversation goes on, the others stay with their results; until then all of them wait."""
    said = [
        message(1, "assistant", "", {"tool_calls": [call("a")]}),
        message(2, "assistant", "", {"tool_calls": [call("b")]}),
        message(3, "tool", "2", {"tool_call_id": "b"}),
    ]
    assert sent(*said) == []
    asked, result, _ = sent(*said, message(4, "user", "Well?"))
    assert [each["id"] for each in asked["tool_calls"]] == [result["tool_call_id"]] == ["b"]


def test_memories_do_not_part_a_call_from_its_result() -> None:
    """If the newest user message has tool results (Anthropic's format), notes are put before the user's last text."""
    use = [{"type": "tool_use", "id": "a", "name": "look", "input": {}}]
    result = [{"type": "tool_result", "tool_use_id": "a", "content": "found"}]
    said = [message(1, "user", "Look"), message(2, "assistant", use), message(3, "user", result)]
    recalls = Recalls([Recalled(remembered("Ann is tall."), 1.0, {})], "other", 500)
    made = build(whole(said), request(None)._replace(recalls=recalls), ESTIMATE, "s").as_openai()
    assert [each["role"] for each in made] == ["user", "user", "assistant", "tool"]


def test_pictures_of_every_spelling() -> None:
    """OpenAI's own as they are; LangChain's and Anthropic's become OpenAI's."""
    own = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
    langchain = {"type": "image", "base64": "QUJD", "mime_type": "image/jpeg"}
    anthropic = {"type": "image", "source": {"type": "base64", "media_type": "image/gif", "data": "QUJD"}}
    [made] = sent(message(1, "user", [{"type": "text", "text": "Look"}, own, langchain, anthropic]))
    urls = [part["image_url"]["url"] for part in made["content"][1:]]
    assert urls == ["https://example.org/a.png", "data:image/jpeg;base64,QUJD", "data:image/gif;base64,QUJD"]

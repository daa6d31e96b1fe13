"""Blocks that OpenAI's chat protocol does not know: converted as LangChain converts them, or named in text."""

from datetime import UTC, datetime
from typing import Any

import pytest
from langchain_core.messages.block_translators.openai import convert_to_openai_data_block

from chatmemory.messages.openai_format import to_openai
from chatmemory.messages.records import Message, Role


def sent(*blocks: dict[str, Any], role: Role = "user") -> Any:
    """Return the content that is sent for a message of these blocks."""
    [message] = to_openai([Message(1, "m", role, list(blocks), datetime.now(UTC))])
    return message["content"]


@pytest.mark.parametrize(
    "block",
    [
        {"type": "image", "url": "https://example.com/a.png"},
        {"type": "image", "base64": "QQ==", "mime_type": "image/jpeg"},
        {"type": "image", "source_type": "base64", "data": "QQ==", "mime_type": "image/jpeg"},
        {"type": "audio", "base64": "QQ==", "mime_type": "audio/wav"},
        {"type": "audio", "source_type": "base64", "data": "QQ==", "mime_type": "audio/wav"},
        {"type": "file", "base64": "QQ==", "mime_type": "application/pdf", "filename": "a.pdf"},
        {"type": "file", "base64": "QQ==", "mime_type": "application/pdf", "extras": {"filename": "a.pdf"}},
        {"type": "file", "source_type": "base64", "data": "QQ==", "mime_type": "text/plain", "filename": "a.txt"},
        {"type": "file", "file_id": "file-1"},
        {"type": "file", "source_type": "id", "id": "file-1"},
    ],
)
def test_blocks_of_langchain(block: dict[str, Any]) -> None:
    """Images, sounds and files become what LangChain makes of them."""
    assert sent(block) == [convert_to_openai_data_block(block)]


PDF = {"type": "file", "file": {"file_data": "data:application/pdf;base64,QQ==", "filename": "a.pdf"}}


@pytest.mark.parametrize(
    ("block", "part"),
    [
        (PDF, PDF),
        ({"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,QQ=="}, PDF),
        ({"type": "input_file", "file_id": "file-1"}, {"type": "file", "file": {"file_id": "file-1"}}),
        (
            {"type": "document", "title": "a.pdf",
             "source": {"type": "base64", "media_type": "application/pdf", "data": "QQ=="}},
            PDF,
        ),
        (
            {"type": "input_image", "image_url": "https://example.com/a.png", "detail": "low"},
            {"type": "image_url", "image_url": {"url": "https://example.com/a.png", "detail": "low"}},
        ),
        (
            {"type": "input_audio", "input_audio": {"data": "QQ==", "format": "mp3"}},
            {"type": "input_audio", "input_audio": {"data": "QQ==", "format": "mp3"}},
        ),
        (
            {"type": "audio", "base64": "QQ==", "mime_type": "audio/mpeg"},
            {"type": "input_audio", "input_audio": {"data": "QQ==", "format": "mp3"}},
        ),
    ],
)  # fmt: skip
def test_blocks_of_others(block: dict[str, Any], part: dict[str, Any]) -> None:
    """Blocks of the chat protocol stay; those of the Responses API and of Anthropic are converted."""
    assert sent(block) == [part]


@pytest.mark.parametrize(
    ("block", "text"),
    [
        ({"type": "image", "file_id": "file-1"}, "[attachment: image file-1]"),
        ({"type": "image"}, "[attachment: image]"),
        ({"type": "input_image", "file_id": "file-1"}, "[attachment: input_image file-1]"),
        ({"type": "audio", "url": "https://example.com/a.mp3"}, "[attachment: audio https://example.com/a.mp3]"),
        ({"type": "file", "url": "https://example.com/a.pdf"}, "[attachment: file https://example.com/a.pdf]"),
        ({"type": "input_file", "file_url": "https://example.com/a"}, "[attachment: input_file https://example.com/a]"),
        ({"type": "document", "source": {"type": "file", "file_id": "f-1"}}, "[attachment: document f-1]"),
        ({"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "Soup."}}, "Soup."),
        ({"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "Soup."}]}}, "Soup."),
        ({"type": "audio_asset_pointer", "asset_pointer": "a://1"}, "[attachment: audio_asset_pointer a://1]"),
        ({"type": "image_asset_pointer", "asset_pointer": "a://1"}, "[attachment: image_asset_pointer a://1]"),
        ({"type": "hologram", "light": 3}, "[attachment: hologram]"),
    ],
)
def test_what_cannot_be_sent_is_named(block: dict[str, Any], text: str) -> None:
    """Blocks that the protocol has no form for are named in text, and a document that is text is that text."""
    assert sent({"type": "text", "text": "See"}, block) == f"See\n{text}"
    assert "None" not in str(sent(block))


def test_attachments_of_an_assistant() -> None:
    """An assistant's message is text alone: its attachments are named, and its thoughts are not sent."""
    image = {"type": "image", "base64": "Q"}
    blocks = [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "Here."}, image]
    assert sent(*blocks, role="assistant") == "Here.\n[attachment: image]"

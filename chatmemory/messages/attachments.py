"""Blocks of LangChain, Anthropic, the Responses API and ChatGPT as parts of OpenAI's chat protocol.

They are converted as LangChain converts them; what the protocol cannot carry is named in text.
"""

from collections.abc import Mapping
from typing import Any

from chatmemory.messages.tool_calls import result_text
from chatmemory.records import JsonObject, shorten

_NOUNS = ("image", "audio", "video", "file", "document")
_AUDIO_FORMATS = {"mpeg": "mp3", "x-wav": "wav", "wave": "wav", "vnd.wave": "wav"}


def is_attachment(block: Mapping[str, Any]) -> bool:
    """Return whether a block stands for an image, a sound, a video or a file."""
    return any(noun in str(block.get("type")) for noun in _NOUNS)


def openai_part(block: Mapping[str, Any]) -> JsonObject:
    """Convert a block of a message's content."""
    if isinstance(block.get("text"), str):
        return _text(block["text"])
    kind, source = str(block.get("type")), _source(block)
    if kind in ("image", "image_url", "input_image"):
        part = _image(source)
    elif kind in ("audio", "input_audio"):
        part = _audio(source)
    elif kind in ("file", "input_file", "document"):
        part = _document_text(source) or _file(source)
    else:
        part = dict(block) if kind == "video_url" and isinstance(block.get(kind), dict) else None
    return part or _text(_name(kind, source))


def _text(text: str) -> JsonObject:
    return {"type": "text", "text": text}


def _source(block: Mapping[str, Any]) -> dict[str, Any]:
    """Return the block with what stands under its source, its metadata or its own type."""
    values = dict(block)
    for key in ("metadata", "extras", "source", str(block.get("type"))):
        inner = block.get(key)
        if isinstance(inner, dict):
            values.update(inner)
    if values.get("source_type") == "id":
        values["file_id"] = values.get("id")
    return values


def _image(source: Mapping[str, Any]) -> JsonObject | None:
    url = _string(source, "url", "image_url") or _data_url(source, "image/png")
    detail = _string(source, "detail")
    return {"type": "image_url", "image_url": {"url": url, **({"detail": detail} if detail else {})}} if url else None


def _audio(source: Mapping[str, Any]) -> JsonObject | None:
    data, subtype = _base64(source), (_mime(source) or "audio/wav").split("/")[-1]
    form = _string(source, "format") or _AUDIO_FORMATS.get(subtype, subtype)
    return {"type": "input_audio", "input_audio": {"data": data, "format": form}} if data else None


def _file(source: Mapping[str, Any]) -> JsonObject | None:
    data = _string(source, "file_data") or _data_url(source, "application/pdf")
    if data:
        return {"type": "file", "file": {"file_data": data, "filename": _filename(source) or "file"}}
    is_anthropics = source.get("type") == "file" and "source" in source
    id = None if is_anthropics else _string(source, "file_id")
    return {"type": "file", "file": {"file_id": id}} if id else None


def _document_text(source: Mapping[str, Any]) -> JsonObject | None:
    """Return the text of a document whose source is text."""
    is_text = source.get("type") == "text" and "source" in source
    text = _string(source, "data") if is_text else result_text({"content": source.get("content")})
    return _text(text) if text else None


def _name(kind: str, source: Mapping[str, Any]) -> str:
    """Name what cannot be sent."""
    facts = (_filename(source), _string(source, "url", "file_url", "file_id", "asset_pointer"))
    named = ", ".join(shorten(fact, 200) for fact in facts if fact and not fact.startswith("data:"))
    return f"[attachment: {shorten(kind, 40)}{' ' + named if named else ''}]"


def _data_url(source: Mapping[str, Any], mime: str) -> str | None:
    data = _base64(source)
    return f"data:{_mime(source) or mime};base64,{data}" if data else None


def _base64(source: Mapping[str, Any]) -> str | None:
    return _string(source, "base64", "data")


def _mime(source: Mapping[str, Any]) -> str | None:
    return _string(source, "mime_type", "media_type")


def _filename(source: Mapping[str, Any]) -> str | None:
    return _string(source, "filename", "title", "name")


def _string(source: Mapping[str, Any], *keys: str) -> str | None:
    return next((value for key in keys if isinstance(value := source.get(key), str) and value), None)

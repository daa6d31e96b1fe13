"""The page of the public interface, from the code: each class and function with its signature and first line."""

import ast
import inspect
import textwrap
from collections.abc import Iterator
from importlib import import_module
from typing import Any

HEAD = """Every public name, with its signature; `help(name)` says more. `AsyncChatMemory` and the objects it gives
have the same calls with `await`. [Errors](errors.md) and [settings](settings.md) have pages of their own.
"""
FACES = ("ChatMemory", "Tenant", "Sessions", "Session", "Memories", "Items", "Users")
PACKAGES = ("chatmemory_langchain", "chatmemory_openai_agents", "chatmemory_training")
OWN = ("chatmemory", *PACKAGES)


def api_page(generated: str) -> str:
    """Return the page; `generated` is the note that it must not be edited."""
    core = import_module("chatmemory")
    values = {name: getattr(core, name) for name in core.__all__}
    rest = {
        name: value
        for name, value in values.items()
        if name not in (*FACES, "Settings") and not name.startswith("Async") and not _is_error(value)
    }
    functions = {name: value for name, value in rest.items() if inspect.isfunction(value)}
    classes = {name: value for name, value in rest.items() if inspect.isclass(value)}
    lines = ["# Public interface\n", generated.strip() + "\n", HEAD]
    for name in FACES:
        lines += _class(name, values[name])
    lines += ["## Functions\n", *(_function(name, value) for name, value in functions.items()), ""]
    lines.append("## Records and protocols\n")
    for name, value in classes.items():
        lines += _class(name, value, level="###")
    for package in PACKAGES:
        module = import_module(package)
        lines.append(f"## {package}\n")
        for name in module.__all__:
            value = getattr(module, name)
            lines += _class(name, value, level="###") if inspect.isclass(value) else [_function(name, value), ""]
    return "\n".join(lines).rstrip() + "\n"


def _is_error(value: object) -> bool:
    return inspect.isclass(value) and issubclass(value, Exception)


def _class(name: str, cls: type, level: str = "##") -> list[str]:
    members = [_function(member, value, is_member=True) for member, value in _members(cls)]
    return [f"{level} {name}\n", f"{_first_line(cls)}\n", *members, *([""] if members else [])]


def _members(cls: type) -> Iterator[tuple[str, Any]]:
    """Yield the public methods and properties of a class and of its bases in these packages."""
    seen: set[str] = set()
    for base in cls.__mro__:
        if base.__module__.partition(".")[0] not in OWN:
            continue
        for name, value in vars(base).items():
            inner = value.__func__ if isinstance(value, classmethod | staticmethod) else value
            if not name.startswith("_") and name not in seen and (inspect.isfunction(inner) or _is_property(inner)):
                seen.add(name)
                yield name, inner


def _is_property(value: object) -> bool:
    return isinstance(value, property)


def _function(name: str, value: Any, *, is_member: bool = False) -> str:
    if _is_property(value):
        return f"- `{name}`: {_first_line(value)}"
    signature = _signature(value)
    text = signature.removeprefix("self, ").removeprefix("cls, ") if is_member else signature
    arguments, _, returned = text.rpartition(" -> ")
    arguments = "" if arguments in ("self", "cls") else arguments
    return f"- `{name}({arguments})` → `{returned}`: {_first_line(value)}"


def _signature(function: Any) -> str:
    """Return the arguments and the return type as the code writes them."""
    source = textwrap.dedent(inspect.getsource(inspect.unwrap(function)))
    [node] = ast.parse(source).body
    assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    arguments = node.args
    for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
        argument.annotation = _unquoted(argument.annotation)
    returned = _unquoted(node.returns)
    return f"{ast.unparse(arguments)} -> {ast.unparse(returned) if returned else 'None'}"


def _unquoted(annotation: ast.expr | None) -> ast.expr | None:
    """Return an annotation that may be written as a string."""
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        return ast.parse(annotation.value, mode="eval").body
    return annotation


def _first_line(value: object) -> str:
    return " ".join((inspect.getdoc(value) or "").partition("\n\n")[0].split())

"""The language of a search for runs, such as `metrics.val_loss < 0.3 and details.optimizer = 'adamw'`."""

from decimal import Decimal
from typing import Any

from lark import Lark, Transformer, UnexpectedInput, UnexpectedToken, v_args

from chatmemory.errors import InvalidInputError
from chatmemory.runs.filtering import Absent, Compared, Condition, Field, Key, Like, Not, Operator, Several, Value
from chatmemory.validation import check_text

LONGEST = 2_000  # characters
SHOWN = 30  # characters of what cannot be read
OPERATORS: dict[str, Operator] = {
    "=": "=", "==": "=", "!=": "!=", "<>": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">=",
}  # fmt: skip
_GRAMMAR = r"""
    where: _any
    order: key ("," key)*
    key: field [DIRECTION]
    _any: _all | either
    either: _all ("or"i _all)+
    _all: _one | both
    both: _one ("and"i _one)+
    _one: "(" _any ")" | no | compared | among | absent | alike
    no: NOT _one
    compared: field OPERATOR value
    among: field [NOT] "in"i "(" value ("," value)* ")"
    absent: field "is"i [NOT] "null"i
    alike: field [NOT] "like"i STRING
    field: NAME PART*
    value: NUMBER | STRING | BOOLEAN
    NOT.2: /not\b/i
    BOOLEAN.2: /(true|false)\b/i
    DIRECTION.2: /(asc|desc)\b/i
    OPERATOR: "<=" | ">=" | "!=" | "<>" | "==" | "=" | "<" | ">"
    NAME: /[^\W\d]\w*/
    PART: /\.(`[^`]+`|[\w\/:@-]+)/
    NUMBER: /[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d{1,3})?\b/i
    STRING: /'([^']|'')*'/ | /"([^"]|"")*"/
    %ignore /\s+/
"""
_ARGUMENTS = {
    "where": ("where", "metrics.val_loss < 0.3 and details.optimizer = 'adamw'"),
    "order": ("order_by", "metrics.accuracy desc, created_at"),
}


def parse_condition(where: str) -> Condition:
    """Parse a condition.

    Raises:
        InvalidInputError: It is not in the language; the message shows from where on.
    """
    condition: Condition = _parse("where", where)[0]
    return condition


def parse_order(order_by: str) -> tuple[Key, ...]:
    """Parse what to order by.

    Raises:
        InvalidInputError: It is not in the language; the message shows from where on.
    """
    return _parse("order", order_by)


def _parse(start: str, text: str) -> tuple[Any, ...]:
    argument, example = _ARGUMENTS[start]
    check_text(text, argument)
    if len(text) > LONGEST:
        raise InvalidInputError(f"{argument} has {len(text):,} characters; the limit is {LONGEST:,}.")
    try:
        parsed: Any = _PARSER.parse(text, start=start)
    except UnexpectedInput as error:
        rest = (
            ""
            if isinstance(error, UnexpectedToken) and error.token.type == "$END"
            else text[error.pos_in_stream or 0 :]
        )
        problem = f"cannot be read from {rest[:SHOWN]!r} on" if rest else "ends too early"
        raise InvalidInputError(f"{argument} {problem}; an example: {example}") from None
    except RecursionError:
        raise InvalidInputError(f"{argument} is nested too deeply.") from None
    return tuple(parsed)


def _negated(condition: Condition, no: object) -> Condition:
    return Not(condition) if no else condition


def _unquoted(text: str) -> str:
    quote = text[0]
    return text[1:-1].replace(quote * 2, quote)


@v_args(inline=True)
class _ToConditions(Transformer[Any, Any]):
    """Builds the conditions while the text is parsed."""

    def where(self, *parts: Any) -> tuple[Any, ...]:
        return parts

    order = where

    def key(self, field: Field, direction: str | None) -> Key:
        return Key(field, str(direction).lower() == "desc")

    def either(self, *conditions: Condition) -> Condition:
        return Several("or", conditions)

    def both(self, *conditions: Condition) -> Condition:
        return Several("and", conditions)

    def no(self, _: str, condition: Condition) -> Condition:
        return Not(condition)

    def compared(self, field: Field, operator: str, value: Value) -> Condition:
        return Compared(field, OPERATORS[operator], value)

    def among(self, field: Field, no: str | None, *values: Value) -> Condition:
        return _negated(Several("or", tuple(Compared(field, "=", value) for value in values)), no)

    def absent(self, field: Field, no: str | None) -> Condition:
        return _negated(Absent(field), no)

    def alike(self, field: Field, no: str | None, pattern: str) -> Condition:
        return _negated(Like(field, _unquoted(pattern)), no)

    def field(self, column: str, *parts: str) -> Field:
        return Field(str(column), tuple(part[1:].strip("`") for part in parts))

    def value(self, token: Any) -> Value:
        match token.type:
            case "STRING":
                return _unquoted(token)
            case "BOOLEAN":
                return bool(token.lower() == "true")
        return Decimal(token)


_PARSER = Lark(_GRAMMAR, parser="lalr", start=["where", "order"], maybe_placeholders=True, transformer=_ToConditions())

"""Values of the configuration that many of its fields hold: names, texts, money, and what each field must be like."""

from __future__ import annotations

import re
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from typing import Annotated, Final

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
)

from schemas.durations import brief

SECRET_REFERENCE: Final = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*|file:[^\s].*")
"""The only form in which the configuration may speak of a secret."""
MAX_BUDGET_USD: Final = 100_000
_WILD: Final = re.compile(r"[*?\[]")


def is_glob(pattern: str) -> bool:
    """Whether `pattern` holds a wildcard (`*`, `?` or `[...]`)."""
    return _WILD.search(pattern) is not None


def money(value: object) -> Decimal:
    """US dollars above zero in whole cents. A number keeps the digits written. Raises ValueError."""
    amount = None
    if isinstance(value, int | float | str | Decimal) and not isinstance(value, bool):
        with suppress(InvalidOperation):
            amount = Decimal(str(value))
    if amount is None or not amount.is_finite():
        msg = f"{brief(value)} is not an amount of US dollars, such as 2.50"
        raise ValueError(msg)
    if not 0 < amount <= MAX_BUDGET_USD:
        msg = f"{brief(value)} is outside the range: above 0, at most {MAX_BUDGET_USD} US dollars"
        raise ValueError(msg)
    if amount * 100 != (amount * 100).to_integral_value():
        msg = f"{brief(value)} is not a whole number of cents: write at most two decimals"
        raise ValueError(msg)
    return amount


def one_or_many(value: object) -> object:
    """A single text where a list is wanted stands for a list of one."""
    return (value,) if isinstance(value, str) else value


def one_or_more(value: object) -> object:
    """A single mapping where a list is wanted stands for a list of one."""
    return (value,) if isinstance(value, dict) else value


def check_name(name: str) -> None:
    """Raise ValueError unless `name` can stand in a path: names of connections do."""
    if _NAME.fullmatch(name) is None:
        msg = (
            f"the name {brief(name)} is not usable: up to 64 letters, digits, '.', '_' or '-', no sign first"
        )
        raise ValueError(msg)


_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
TEXT_SCHEMA: Final = {"type": "string", "minLength": 1}
Text = Annotated[str, StringConstraints(min_length=1, max_length=1000)]
Texts = Annotated[
    tuple[Text, ...],
    BeforeValidator(one_or_many),
    Field(min_length=1, max_length=100),
    WithJsonSchema(
        {
            "anyOf": [
                TEXT_SCHEMA,
                {"type": "array", "items": TEXT_SCHEMA, "minItems": 1, "maxItems": 100},
            ]
        }
    ),
]
Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=50_000)]
Condition = Annotated[str, Field(min_length=1, json_schema_extra={"maxLength": 2000})]
"""CEL. Its length is checked where it is compiled."""
Money = Annotated[
    Decimal,
    BeforeValidator(money),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "exclusiveMinimum": 0, "maximum": MAX_BUDGET_USD},
                {"type": "string", "pattern": r"^\d+(\.\d{1,2})?$"},
            ]
        }
    ),
]


class Strict(BaseModel):
    """A field that nobody knows is a mistake in the file, never ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

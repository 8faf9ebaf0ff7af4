"""Tokens, running time and list cost of a session (reference §5). Must not know a session.

Prices are list prices per million tokens; running time costs $0.08 an hour. Amounts are whole cents in a
string.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Final

CHARACTERS_PER_TOKEN: Final = 4
MILLION: Final = Decimal(1_000_000)
CENTS: Final = Decimal(100)
CENTS_PER_SECOND: Final = Decimal("0.08") * CENTS / Decimal(3600)


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars per million tokens."""

    base: Decimal
    output: Decimal
    write: Decimal
    read: Decimal


def _price(base: str, output: str, write: str, read: str) -> Price:
    return Price(Decimal(base), Decimal(output), Decimal(write), Decimal(read))


PRICES: Final[tuple[tuple[str, Price], ...]] = (
    ("claude-fable-5-1", _price("10", "50", "12.50", "0.25")),
    ("claude-fable-5", _price("10", "50", "12.50", "1.00")),
    ("claude-opus-5-5", _price("4", "20", "5", "0.20")),
    ("claude-opus", _price("5", "25", "6.25", "0.50")),
    ("claude-sonnet-5", _price("2", "10", "2.50", "0.20")),
    ("claude-sonnet", _price("3", "15", "3.75", "0.30")),
    ("claude-haiku-5-5", _price("0.10", "0.50", "0.125", "0.01")),
    ("claude-haiku", _price("1", "5", "1.25", "0.10")),
)
"""By prefix, the longest first."""
UNPRICED: Final = frozenset({"claude-fable-5-2"})
FALLBACK: Final = _price("5", "25", "6.25", "0.50")


def priced(model: str) -> bool:
    """Whether the model has a public list price; a budget needs one."""
    return model not in UNPRICED and any(model.startswith(prefix) for prefix, _ in PRICES)


def price_of(model: str) -> Price:
    """The price, or that of a large model where none is public."""
    if model in UNPRICED:
        return FALLBACK
    return next((price for prefix, price in PRICES if model.startswith(prefix)), FALLBACK)


def tokens(text: str) -> int:
    """About how many tokens a text has; one at least."""
    return max(1, -(-len(text) // CHARACTERS_PER_TOKEN))


@dataclass(slots=True)
class Usage:
    """Running totals of one session."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0
    active_seconds: float = 0.0
    spent: Decimal = Decimal(0)
    """Cents for tokens so far, exactly."""
    requests: int = 0

    def add(self, model: str, *, fresh: int, cached: int, written: int, output: int) -> dict[str, Any]:
        """Count one model request and return its `model_usage`."""
        price = price_of(model)
        dollars = price.base * fresh + price.read * cached + price.write * written + price.output * output
        self.spent += dollars * CENTS / MILLION
        self.input += fresh
        self.output += output
        self.cache_read += cached
        self.cache_write += written
        self.requests += 1
        return {
            "input_tokens": fresh,
            "output_tokens": output,
            "cache_read_input_tokens": cached,
            "cache_creation_input_tokens": written,
            "speed": "standard",
        }

    @property
    def cents(self) -> Decimal:
        """All that was consumed, in cents, exactly."""
        return self.spent + Decimal(str(self.active_seconds)) * CENTS_PER_SECOND

    def as_dict(self) -> dict[str, Any]:
        """The form on a session and in `session.usage`. `list_cost` is absent before the first model
        request."""
        shape: dict[str, Any] = {
            "input_tokens": self.input,
            "output_tokens": self.output,
            "cache_read_input_tokens": self.cache_read,
            "cache_creation": {"ephemeral_5m_input_tokens": self.cache_write, "ephemeral_1h_input_tokens": 0},
            "active_seconds": round(self.active_seconds, 3),
            "server_tool_use": {"web_search_requests": 0, "web_fetch_requests": 0},
        }
        if self.requests:
            whole = self.cents.quantize(Decimal(1), rounding=ROUND_HALF_UP)
            shape["list_cost"] = {"amount": str(whole), "currency": "USD"}
        return shape

"""Query parameters and cursors of the list routes. Must not know what is listed."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import orjson
from starlette.requests import Request

from sandbox.managed_agents.errors import invalid

BOOLEANS: Final = {"true": True, "false": False}
RANGES: Final = ("gt", "gte", "lt", "lte")


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a page begins. `order` travels with it: a cursor used with another order is refused."""

    order: str
    position: int
    backwards: bool = False

    def __str__(self) -> str:
        raw = orjson.dumps([self.order, self.position, self.backwards])
        return "page_" + base64.urlsafe_b64encode(raw).decode().rstrip("=")


class Query:
    """The parameters of one list request. Names that the route does not know are refused."""

    def __init__(self, request: Request, *, known: Iterable[str]) -> None:
        self._values: dict[str, list[str]] = {}
        allowed = {"limit", "page", "beta", *known}
        for name, value in request.query_params.multi_items():
            plain = name.removesuffix("[]")
            if plain.partition("[")[0] not in allowed:
                raise invalid(f"{name}: Extra inputs are not permitted")
            self._values.setdefault(plain, []).append(value)

    def one(self, name: str) -> str | None:
        """The parameter's last value."""
        values = self._values.get(name)
        return values[-1] if values else None

    def many(self, name: str, *, among: frozenset[str] | None = None) -> frozenset[str] | None:
        """All values of `name[]`; None when it is absent. Values outside `among` are refused."""
        values = self._values.get(name)
        if values is None:
            return None
        if among is not None:
            for value in values:
                if value not in among:
                    raise invalid(f"{name}: {value!r} is not one of {', '.join(sorted(among))}")
        return frozenset(values)

    def flag(self, name: str) -> bool:
        """A boolean that is false when absent."""
        value = self.one(name)
        if value is None:
            return False
        if value not in BOOLEANS:
            raise invalid(f"{name}: Input should be a valid boolean")
        return BOOLEANS[value]

    def number(self, name: str, *, default: int | None = None, most: int = 2**31) -> int | None:
        """A positive whole number."""
        value = self.one(name)
        if value is None:
            return default
        if not (value.isascii() and value.isdigit()) or not 1 <= int(value) <= most:
            raise invalid(f"{name}: Input should be a whole number from 1 to {most}")
        return int(value)

    def limit(self, *, default: int, most: int) -> int:
        """How many items a page holds."""
        return self.number("limit", default=default, most=most) or default

    def order(self, *, default: str) -> str:
        """`asc` or `desc`."""
        value = self.one("order") or default
        if value not in {"asc", "desc"}:
            raise invalid("order: Input should be 'asc' or 'desc'")
        return value

    def cursor(self, order: str) -> Cursor | None:
        """The `page` parameter. Raises 400 when it is not a cursor, or one of another order."""
        value = self.one("page")
        if not value:
            return None
        raw = value.removeprefix("page_")
        try:
            parts = orjson.loads(base64.urlsafe_b64decode(raw + "=" * (-len(raw) % 4)))
            was, position, backwards = parts
        except (binascii.Error, ValueError, TypeError):
            raise invalid("page: Invalid cursor") from None
        if not (isinstance(was, str) and isinstance(position, int) and isinstance(backwards, bool)):
            raise invalid("page: Invalid cursor")
        if was != order:
            raise invalid(
                f"page: this cursor was made with order={was}; it cannot be used with order={order}"
            )
        return Cursor(order=order, position=position, backwards=backwards)

    def bounds(self, name: str = "created_at") -> Bounds:
        """The limits set by `name[gt]`, `[gte]`, `[lt]` and `[lte]`."""
        given = ((kind, self.one(f"{name}[{kind}]")) for kind in RANGES)
        return Bounds(
            tuple((kind, _moment(value, f"{name}[{kind}]")) for kind, value in given if value is not None)
        )


@dataclass(frozen=True, slots=True)
class Bounds:
    """A span of time, open or closed at either end."""

    limits: tuple[tuple[str, datetime], ...]

    def hold(self, moment: datetime) -> bool:
        """Whether the moment lies within."""
        return all(
            (kind == "gt" and moment > bound)
            or (kind == "gte" and moment >= bound)
            or (kind == "lt" and moment < bound)
            or (kind == "lte" and moment <= bound)
            for kind, bound in self.limits
        )

    def hold_stamp(self, moment: str) -> bool:
        """`hold` for a moment in the form in which bodies show it."""
        return not self.limits or self.hold(datetime.fromisoformat(moment))

    @property
    def earliest(self) -> datetime | None:
        """Nothing before this holds; None when there is no lower limit."""
        return max((bound for kind, bound in self.limits if kind.startswith("g")), default=None)


def page(items: list[Any], *, limit: int, cursor: Cursor | None, order: str = "desc") -> dict[str, Any]:
    """One page of a list that is whole in memory and in its order; the cursor counts items."""
    start = cursor.position if cursor else 0
    more = start + limit < len(items)
    return {
        "data": items[start : start + limit],
        "next_page": str(Cursor(order=order, position=start + limit)) if more else None,
    }


def _moment(value: str, name: str) -> datetime:
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise invalid(f"{name}: Input should be a valid RFC 3339 datetime") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)

"""What all commands share that tell of a hub: where they read, which options they take, how they page."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Protocol, TypeVar

import typer

from hub.commands.configured import load_settings
from hub.commands.terminal import CommandError

if TYPE_CHECKING:
    from hub.records import Records

T = TypeVar("T")
I_co = TypeVar("I_co", covariant=True)

FETCHED = "fetched"
"""The origin of a delivery that no vendor made."""

Url = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        envvar="TRIGGERHUB_URL",
        help="Ask this hub (with TRIGGERHUB_API_TOKEN) and not the database of TRIGGERHUB_DATABASE_URL.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Limit = Annotated[int, typer.Option(min=1, max=10_000, help="Most items, newest first.")]
OfConnection = Annotated[
    str | None, typer.Option("--connection", metavar="NAME", help="Only of this connection.")
]
OfSubject = Annotated[
    str | None, typer.Option("--subject", metavar="KEY", help="Only about this, such as acme/checkout#12.")
]


class _Page(Protocol[I_co]):
    @property
    def items(self) -> tuple[I_co, ...]: ...

    @property
    def next_cursor(self) -> str | None: ...


def ask(url: str | None, question: Callable[[Records], Awaitable[T]]) -> T:
    """The answer of the hub at `url`, or of the database where that is None. Raises CommandError."""
    import asyncio  # noqa: PLC0415 - --help must not pay for it

    from hub.records import RecordsError  # noqa: PLC0415 - the same
    from hub.remote_records import remote_records  # noqa: PLC0415 - the same
    from hub.stored_records import stored_records  # noqa: PLC0415 - the same

    settings = load_settings()
    token = settings.api_token.get_secret_value() if settings.api_token else None

    async def answer() -> T:
        opened = remote_records(url, token=token) if url else stored_records(settings.database_url)
        async with opened as records:
            return await question(records)

    try:
        return asyncio.run(answer())
    except RecordsError as error:
        raise CommandError(str(error)) from None


async def gather(page: Callable[[int, str | None], Awaitable[_Page[I_co]]], limit: int) -> list[I_co]:
    """Up to `limit` items, page by page."""
    from hub.records import PAGE  # noqa: PLC0415 - --help must not pay for it

    found: list[I_co] = []
    cursor: str | None = None
    while len(found) < limit:
        got = await page(min(PAGE, limit - len(found)), cursor)
        found += got.items
        cursor = got.next_cursor
        if cursor is None:
            break
    return found

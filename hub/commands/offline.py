"""`inspect` and `asyncapi`: what can be told without configuration, network or database."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hub.commands.terminal import USAGE, CommandError, emit, honest, remark, stop

if TYPE_CHECKING:
    from connectors.base import Connector

Source = Annotated[
    str,
    typer.Option(
        "--source", "-s", metavar="NAME", help="Who sent it: github, jira, sentry, slack, anthropic."
    ),
]
Headers = Annotated[
    Path | None,
    typer.Option(
        "--headers",
        metavar="FILE.json",
        help="The request's headers as a JSON object. Without it NAME.headers.json beside the body is read.",
    ),
]
Bodies = Annotated[
    list[Path],
    typer.Argument(
        metavar="BODY...", help="Files with a webhook's body; *.form.txt is a form.", show_default=False
    ),
]


def named_connector(source: str) -> Connector:
    """The connector of that name, or a usage error with the nearest one."""
    from connectors.registry import UnknownSourceError, connector  # noqa: PLC0415 - --help must not pay for it

    try:
        return connector(source)
    except UnknownSourceError as error:
        raise CommandError(f"--source: {error}", code=USAGE) from None


def given_headers(path: Path | None) -> dict[str, str] | None:
    """The headers of --headers; a file that cannot be used is a usage error."""
    from hub.inspecting import SampleError, read_headers  # noqa: PLC0415 - --help must not pay for it

    try:
        return read_headers(path) if path is not None else None
    except SampleError as error:
        raise CommandError(str(error), code=USAGE) from None


@honest
def inspect(
    bodies: Bodies,
    *,
    source: Source,
    headers: Headers = None,
    connection: Annotated[
        str, typer.Option(help="Name of the connection that the events carry; it is part of their ids.")
    ] = "inspect",
) -> None:
    """Show the events a webhook becomes: one JSON line per body. Offline, without configuration or signature.

    Exit code 0 where every file was judged, 2 where one could not be used.
    """
    from datetime import UTC, datetime  # noqa: PLC0415 - --help must not pay for it

    from hub.inspecting import inspect_file  # noqa: PLC0415 - the same

    found = named_connector(source)
    chosen = given_headers(headers)
    now = datetime.now(tz=UTC)
    usable = True
    for body in bodies:
        reading, good = inspect_file(found, body, headers=chosen, connection=connection, now=now)
        usable &= good
        emit(reading.line().decode())
    if not usable:
        stop(USAGE)


@honest
def asyncapi(
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write it there instead.")
    ] = None,
) -> None:
    """Print the AsyncAPI document of the Kafka topics: the contract for other teams' programs."""
    from hub.asyncapi import document  # noqa: PLC0415 - --help must not pay for it

    text = document()
    if output is None:
        emit(text)
        return
    try:
        output.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        msg = f"{output} cannot be written ({error.strerror}); name another file"
        raise CommandError(msg) from None
    remark(f"written to {output}")

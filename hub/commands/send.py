"""`send`: a webhook from a file, signed as its vendor would, to a running hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hub.commands.configured import DEFAULT_CONFIG, ConfigPath, connection_of, load_config
from hub.commands.offline import Headers, given_headers
from hub.commands.terminal import FAILED, USAGE, CommandError, honest, remark, say, stop

HUB = "http://127.0.0.1:8080"


@honest
def send(
    body: Annotated[
        Path, typer.Argument(metavar="BODY", help="File with a webhook's body.", show_default=False)
    ],
    *,
    connection: Annotated[
        str, typer.Option(metavar="NAME", help="Whose secret signs it, and whose path it goes to.")
    ],
    headers: Headers = None,
    url: Annotated[
        str | None,
        typer.Option(metavar="URL", help=f"The hub, or the whole address. Default: {HUB}/hooks/NAME"),
    ] = None,
    config: ConfigPath = DEFAULT_CONFIG,
) -> None:
    """Sign a webhook as its vendor would and post it to a hub.

    Delivery ids are fresh each time unless the headers give one. Exit code 0 for a 2xx answer, else 1.
    """
    from connectors.base import UnreadableError  # noqa: PLC0415 - --help must not pay for it
    from connectors.registry import connector  # noqa: PLC0415 - the same
    from hub import sending  # noqa: PLC0415 - the same
    from hub.inspecting import SampleError, read_request  # noqa: PLC0415 - the same
    from hub.secrets import SecretError, resolve  # noqa: PLC0415 - the same

    loaded = load_config(config, vendor=False)
    found = connector(connection_of(loaded, connection))
    settings = found.settings.model_validate(loaded.config.connections[connection])
    try:
        request = read_request(body, headers=given_headers(headers), limit=found.max_body)
        secret = resolve(settings.webhook_secrets[0], where=f"connection {connection}")
        address = sending.hook_at(url or HUB, connection)
        answer = sending.send(found, request, secret=secret, url=address)
    except (SampleError, UnreadableError) as error:
        raise CommandError(f"{body}: {error}", code=USAGE) from None
    except (SecretError, sending.SendError) as error:
        raise CommandError(str(error)) from None
    say(f"{answer.status} {answer.text}".rstrip())
    if not answer.accepted:
        remark("the hub did not accept it")
        stop(FAILED)

"""`doctor`: is everything there that a hub needs, and what to do where it is not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hub.commands.configured import DEFAULT_CONFIG, ConfigPath, load_config, load_settings
from hub.commands.terminal import FAILED, CommandError, as_json, emit, honest, say_state, stop

if TYPE_CHECKING:
    from hub.configuration import Loaded
    from hub.doctor import Finding


@honest
def doctor(
    *,
    config: ConfigPath = DEFAULT_CONFIG,
    offline: Annotated[
        bool, typer.Option("--offline", help="Ask neither the vendors nor Anthropic.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check settings, configuration, secrets, database, broker, tokens and the Anthropic key.

    Each line says ok, warn or fail, and what to do. Exit code 1 where one failed.
    """
    import asyncio  # noqa: PLC0415 - --help must not pay for it

    from hub.doctor import Finding, examine  # noqa: PLC0415 - the same
    from hub.logs import set_up_logs  # noqa: PLC0415 - the same

    set_up_logs("error")  # the client libraries' warnings would say the findings twice
    found: list[Finding] = []

    def tell(finding: Finding) -> None:
        found.append(finding)
        if not json:
            say_state(finding.state, f"{finding.about:<10} {finding.detail}")

    async def whole() -> None:
        async for finding in examine(settings, loaded, offline=offline):
            tell(finding)

    try:
        settings = load_settings(config)
    except CommandError as error:
        for line in str(error).splitlines():
            tell(Finding("fail", "settings", line))
        _end(found, json=json)
        return
    tell(Finding("ok", "settings", "the environment variables are acceptable"))
    loaded: Loaded | None = None
    try:
        good = loaded = load_config(config, vendor=True)
        detail = f"{config}: {len(good.config.connections)} connections, {len(good.config.rules)} rules"
        tell(Finding("ok", "config", detail))
        for warning in good.rules.warnings:
            tell(Finding("warn", "config", str(warning)))
    except CommandError as error:
        for line in str(error).splitlines():
            tell(Finding("fail", "config", line))
    asyncio.run(whole())
    _end(found, json=json)


def _end(found: list[Finding], *, json: bool) -> None:
    failed = any(finding.state == "fail" for finding in found)
    if json:
        emit(as_json({"ok": not failed, "findings": found}))
    if failed:
        stop(FAILED)

"""`up`, `demo` and `sandbox`: commands that go on until they are stopped."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hub.commands.configured import DEFAULT_CONFIG, ConfigPath, load_config, load_settings
from hub.commands.terminal import USAGE, CommandError, honest, remark, say, stop

if TYPE_CHECKING:
    from hub.configuration import Loaded
    from hub.hub import Hub
    from hub.settings import Settings

INTERRUPTED = 130
Port = Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")]


@honest
def up(
    *,
    config: ConfigPath = DEFAULT_CONFIG,
    roles: Annotated[
        str | None,
        typer.Option(metavar="A,B", help="Of ingress, router, runner, poster, web. Default: all of them."),
    ] = None,
    host: Annotated[str, typer.Option(metavar="H", help="Address to listen on.")] = "127.0.0.1",
    port: Port = 8080,
) -> None:
    """Run the hub until SIGTERM or Ctrl-C; a second one ends it at once.

    The configuration is checked first, and loaded again whenever it changes.
    """
    from hub.lifetime import CannotStartError, run  # noqa: PLC0415 - the same
    from hub.logs import set_up_logs  # noqa: PLC0415 - the same
    from hub.parts import ROLES  # noqa: PLC0415 - --help must not pay for it

    chosen = _roles(roles, ROLES)
    settings = load_settings(config)
    set_up_logs(settings.log_level, style=settings.log_format)
    loaded = load_config(config, vendor=True)
    for warning in loaded.rules.warnings:
        remark(str(warning))
    try:
        run(
            settings,
            loaded,
            roles=chosen,
            host=host,
            port=port,
            load=_load_again,
            on_started=lambda hub: _banner(hub, settings, loaded, chosen),
        )
    except CannotStartError as error:
        raise CommandError(str(error)) from None


@honest
def demo(
    *,
    once: Annotated[
        bool, typer.Option("--once", help="End when the scenarios have; 0 only if all did well.")
    ] = False,
) -> None:
    """Show the whole way on this machine, against emulated services: no account, no network."""
    from hub.commands import demo as whole  # noqa: PLC0415 - --help must not pay for it

    stop(whole.demo(once=once))


@honest
def sandbox(*, port: Port = 0) -> None:
    """Serve emulations of GitHub, Jira, Sentry, Slack and Managed Agents, to try rules without accounts."""
    import asyncio  # noqa: PLC0415 - --help must not pay for it
    import signal  # noqa: PLC0415 - the same

    from sandbox.server import Sandbox, serve  # noqa: PLC0415 - the same

    async def whole() -> None:
        wanted = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, wanted.set)
        async with serve(port=port, create_missing=True) as served:
            _introduce(served)
            await wanted.wait()

    def _introduce(served: Sandbox) -> None:
        say(f"export ANTHROPIC_BASE_URL={served.anthropic_url}")
        say("export ANTHROPIC_API_KEY=sandbox")
        say()
        say("# in triggerhub.yaml, by source:")
        for source in ("github", "jira", "sentry", "slack"):
            say(f"#   {source + ':':<8} api_url: {served.api_url(source)}")
        say(f"# every call that was made: {served.url}/_sandbox/log")
        sys.stdout.flush()
        remark("serving; Ctrl-C ends it")

    try:
        asyncio.run(whole())
    except OSError as error:
        msg = f"cannot listen on 127.0.0.1:{port} ({error.strerror}); choose another with --port"
        raise CommandError(msg) from None


def _roles(given: str | None, known: tuple[str, ...]) -> frozenset[str]:
    from router.problems import unknown  # noqa: PLC0415 - --help must not pay for it

    if given is None:
        return frozenset(known)
    chosen = [role.strip() for role in given.split(",") if role.strip()]
    for role in chosen:
        if role not in known:
            raise CommandError(f"--roles: {unknown('role', role, known)}", code=USAGE)
    if not chosen:
        msg = f"--roles names none; known are {', '.join(known)}"
        raise CommandError(msg, code=USAGE)
    return frozenset(chosen)


def _load_again(path: Path) -> Loaded:
    from hub.configuration import load_configuration  # noqa: PLC0415 - --help must not pay for it
    from hub.vendor_types import check_agent, check_environment, check_part  # noqa: PLC0415 - the same

    return load_configuration(
        path, check_agent=check_agent, check_environment=check_environment, check_part=check_part
    )


def _banner(hub: Hub, settings: Settings, loaded: Loaded, roles: frozenset[str]) -> None:
    """Where everything is, for a person who looks on. Programs read the log."""
    if not sys.stderr.isatty():
        return
    from sqlalchemy import make_url  # noqa: PLC0415 - --help must not pay for it

    remark(f"\ntriggerhub is up: {', '.join(sorted(roles))}")
    for name, connection in sorted(hub.connections.items()) if "ingress" in roles else ():
        remark(f"  webhooks  POST {hub.url}/hooks/{name}  ({connection.connector.source})")
    off = sum(not rule.enabled for rule in loaded.config.rules)
    remark(f"  rules     {len(loaded.config.rules)} loaded{f', {off} switched off' if off else ''}")
    if "web" in roles:
        guard = "bearer token" if settings.api_token else "this machine only: TRIGGERHUB_API_TOKEN is not set"
        remark(f"  API       {hub.url}/api/v1/  ({guard})")
    remark(f"  database  {make_url(settings.database_url).render_as_string(hide_password=True)}")
    remark(f"  broker    {settings.kafka_bootstrap_servers or 'embedded'}")
    remark("  Ctrl-C stops it in order, twice at once\n")

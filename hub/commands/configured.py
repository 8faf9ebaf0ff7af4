"""Settings and configuration as commands load them: every mistake a clear paragraph and an exit code."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hub.commands.terminal import USAGE, CommandError

if TYPE_CHECKING:
    from hub.configuration import Loaded
    from hub.settings import Settings

ConfigPath = Annotated[
    Path,
    typer.Option(
        "--config",
        "-c",
        metavar="PATH",
        envvar="TRIGGERHUB_CONFIG",
        help="File or folder with connections, agents and rules.",
    ),
]
DEFAULT_CONFIG = Path("triggerhub.yaml")


def load_settings(config: Path | None = None) -> Settings:
    """The settings of the environment. Raises CommandError naming every variable that is wrong."""
    from pydantic import ValidationError  # noqa: PLC0415 - --help must not pay for it

    from hub.settings import Settings  # noqa: PLC0415 - the same

    try:
        return Settings() if config is None else Settings(config=config)
    except ValidationError as error:
        lines = [
            _told(item["loc"], item["msg"]) for item in error.errors(include_input=False, include_url=False)
        ]
        raise CommandError("\n".join(lines)) from None


def load_config(path: Path, *, vendor: bool, code: int = 1) -> Loaded:
    """The configuration at `path`. `vendor` also checks agents and environments, which takes a second.

    Raises CommandError with every problem.
    """
    from hub.configuration import load_configuration  # noqa: PLC0415 - --help must not pay for it
    from router.problems import ConfigError  # noqa: PLC0415 - the same

    try:
        if not vendor:
            return load_configuration(path)
        from hub.vendor_types import check_agent, check_environment, check_part  # noqa: PLC0415 - imports the SDK

        return load_configuration(
            path, check_agent=check_agent, check_environment=check_environment, check_part=check_part
        )
    except ConfigError as error:
        count = sum(problem.severity == "error" for problem in error.problems)
        if not path.exists():
            msg = (
                f"there is no configuration at {path}; write one (examples/ has some), "
                "or name another with --config or TRIGGERHUB_CONFIG"
            )
            raise CommandError(msg, code=code) from None
        lines = "\n".join(str(problem) for problem in error.problems)
        problems = "1 problem" if count == 1 else f"{count} problems"
        msg = f"the configuration {path} was refused: {problems}\n{lines}"
        raise CommandError(msg, code=code) from None


def connection_of(loaded: Loaded, name: str) -> str:
    """The source of a connection. Raises CommandError (usage) with the nearest name."""
    from router.problems import unknown  # noqa: PLC0415 - --help must not pay for it

    found = loaded.config.connections.get(name)
    if found is None:
        raise CommandError(
            f"--connection: {unknown('connection', name, loaded.config.connections)}", code=USAGE
        )
    return str(found["source"])


def _told(location: tuple[int | str, ...], message: str) -> str:
    """The variable and what is wrong with it, without its value."""
    text = message.removeprefix("Value error, ")
    name = str(location[0]).upper() if location else ""
    variable = name if name.startswith("ANTHROPIC") else f"TRIGGERHUB_{name}"
    return text if not name or text.startswith(variable) else f"{variable}: {text}"

"""The console script `triggerhub`: names the commands and nothing more.

`--help` must answer at once: no heavy import here, nor in a module of `hub.commands` when it is loaded.
"""

from __future__ import annotations

from typing import Annotated

import typer

from hub.commands import (
    approvals,
    dlq,
    doctor,
    events,
    offline,
    pausing,
    replay,
    rules,
    running,
    runs,
    send,
    spend,
    steering,
    why,
)
from hub.commands.terminal import emit, quiet_pipes, stop

app = typer.Typer(
    name="triggerhub",
    help="Webhooks from GitHub, Jira, Sentry and Slack start agent sessions; results go back.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

RUN = "Run"
TRY = "Try without a hub"
OPERATE = "Operate"


def version(*, wanted: bool) -> None:
    """Print the version and end."""
    if wanted:
        from importlib.metadata import version as installed  # noqa: PLC0415 - only --version pays for it

        emit(f"triggerhub {installed('triggerhub')}")
        stop(0)


@app.callback()
def root(
    *,
    _version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", callback=lambda value: version(wanted=value)),
    ] = False,
) -> None:
    """The program as a whole."""


app.command("demo", rich_help_panel=RUN)(running.demo)
app.command("up", rich_help_panel=RUN)(running.up)
app.command("doctor", rich_help_panel=RUN)(doctor.doctor)
app.command("sandbox", rich_help_panel=RUN)(running.sandbox)
app.command("inspect", rich_help_panel=TRY)(offline.inspect)
app.add_typer(rules.app, rich_help_panel=TRY)
app.command("asyncapi", rich_help_panel=TRY)(offline.asyncapi)
app.command("send", rich_help_panel=OPERATE)(send.send)
app.add_typer(events.app, rich_help_panel=OPERATE)
runs.app.command("approve")(steering.approve_run)
runs.app.command("say")(steering.say_to_run)
app.add_typer(runs.app, rich_help_panel=OPERATE)
app.add_typer(approvals.app, rich_help_panel=OPERATE)
app.command("why", rich_help_panel=OPERATE)(why.why)
app.command("replay", rich_help_panel=OPERATE)(replay.replay)
app.command("pause", rich_help_panel=OPERATE)(pausing.pause)
app.command("resume", rich_help_panel=OPERATE)(pausing.resume)
app.command("spend", rich_help_panel=OPERATE)(spend.spend)
app.add_typer(dlq.app, rich_help_panel=OPERATE)


def main() -> None:
    """Entry point. Exit codes: 0 done, 1 not done, 2 wrong usage, 130 interrupted."""
    with quiet_pipes():
        app(prog_name="triggerhub")

"""`rules check`, `rules test`, `rules schema`: the configuration and its rules, offline."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hub.commands.configured import DEFAULT_CONFIG, ConfigPath, connection_of, load_config
from hub.commands.offline import Headers, Source, given_headers, named_connector
from hub.commands.terminal import (
    FAILED,
    USAGE,
    CommandError,
    as_json,
    complain,
    emit,
    honest,
    remark,
    say,
    stop,
    table,
)

if TYPE_CHECKING:
    from hub.configuration import Loaded
    from hub.inspecting import Reading
    from router.problems import Problem
    from router.verdicts import Verdict
    from schemas.event import Event

app = typer.Typer(name="rules", help="Check and try the configuration's rules.", no_args_is_help=True)
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("check")
@honest
def check(*, config: ConfigPath = DEFAULT_CONFIG, json: Json = False) -> None:
    """Validate the configuration. Lists every problem with file and line; exit code 0 or 1."""
    from hub.configuration import load_configuration  # noqa: PLC0415 - --help must not pay for it
    from hub.vendor_types import check_agent, check_environment, check_part  # noqa: PLC0415 - the same
    from router.problems import ConfigError  # noqa: PLC0415 - the same

    try:
        loaded = load_configuration(
            config, check_agent=check_agent, check_environment=check_environment, check_part=check_part
        )
        problems: list[Problem] = list(loaded.rules.warnings)
    except ConfigError as error:
        loaded, problems = None, error.problems
    if json:
        emit(as_json({"ok": loaded is not None, "problems": problems, **_counts(loaded)}))
    else:
        for problem in problems:
            say(str(problem))
        _summary(config, loaded, problems)
    if loaded is None:
        stop(FAILED)


@app.command("test")
@honest
def ask(
    body: Annotated[
        Path, typer.Argument(metavar="BODY", help="File with a webhook's body.", show_default=False)
    ],
    *,
    source: Source,
    connection: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Where it would come in. Default: the first of that source."),
    ] = None,
    headers: Headers = None,
    config: ConfigPath = DEFAULT_CONFIG,
    json: Json = False,
) -> None:
    """Ask every rule about a webhook, offline: its verdict, the clause that decided, and what was seen.

    Exit code 0 where a rule matched, 1 where none did, 2 for an error.
    """
    from datetime import UTC, datetime  # noqa: PLC0415 - --help must not pay for it

    from connectors.base import UnreadableError  # noqa: PLC0415 - the same
    from hub.configuration import declared_identity  # noqa: PLC0415 - the same
    from hub.inspecting import UNREADABLE, SampleError, read_events, read_request  # noqa: PLC0415 - the same
    from router.commands import outside_rules  # noqa: PLC0415 - the same

    found = named_connector(source)
    loaded = load_config(config, vendor=False, code=USAGE)
    name = _connection(loaded, source, connection)
    settings = found.settings.model_validate(loaded.config.connections[name])
    try:
        request = read_request(body, headers=given_headers(headers), limit=found.max_body)
    except (SampleError, UnreadableError) as error:
        raise CommandError(f"{body}: {error}", code=USAGE) from None
    reading = read_events(
        found,
        request,
        file=str(body),
        connection=name,
        identity=declared_identity(settings),
        now=datetime.now(tz=UTC),
    )
    if reading.outcome == UNREADABLE:
        raise CommandError(f"{body}: {reading.reason}", code=USAGE)
    answers: list[tuple[Event, list[Verdict]]] = []
    for event in reading.events:
        command = outside_rules(event)
        answers.append((event, loaded.rules.explain(event) if command is None else [command]))
    matched = any(verdict.matched for _, verdicts in answers for verdict in verdicts)
    if json:
        events = [
            {"id": event.id, "type": event.type, "subject": event.subject, "verdicts": verdicts}
            for event, verdicts in answers
        ]
        outcome = {"outcome": reading.outcome, "reason": reading.reason}
        emit(
            as_json({"file": str(body), "connection": name, **outcome, "matched": matched, "events": events})
        )
    else:
        _show(reading, name, answers)
    if not matched:
        stop(FAILED)


@app.command("schema")
@honest
def schema() -> None:
    """Print the JSON Schema of the configuration, for editors and checks elsewhere."""
    import orjson  # noqa: PLC0415 - --help must not pay for it

    from connectors.registry import all_connectors  # noqa: PLC0415 - the same
    from router.schema import json_schema  # noqa: PLC0415 - the same

    known = list(all_connectors())
    document = json_schema(
        connection_models={one.source: one.settings for one in known},
        output_specs={one.source: one.outputs for one in known},
    )
    emit(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())


def _counts(loaded: Loaded | None) -> dict[str, int]:
    if loaded is None:
        return {}
    config = loaded.config
    return {
        "connections": len(config.connections),
        "environments": len(config.environments),
        "agents": len(config.agents),
        "rules": len(config.rules),
    }


def _summary(config: Path, loaded: Loaded | None, problems: list[Problem]) -> None:
    errors = sum(problem.severity == "error" for problem in problems)
    warnings = len(problems) - errors
    also = f", {warnings} warning{'s' * (warnings != 1)}" if warnings else ""
    if loaded is None:
        complain(f"{config} was refused: {errors} problem{'s' * (errors != 1)}{also}")
        return
    counts = ", ".join(
        f"{count} {what.removesuffix('s') if count == 1 else what}" for what, count in _counts(loaded).items()
    )
    off = sum(not rule.enabled for rule in loaded.config.rules)
    switched = f" ({off} switched off)" if off else ""
    say(f"{config} is valid: {counts}{switched}{also}")


def _connection(loaded: Loaded, source: str, given: str | None) -> str:
    """The connection a body is taken to come from. Raises CommandError (usage)."""
    connections = loaded.config.connections
    if given is not None:
        actual = connection_of(loaded, given)
        if actual != source:
            msg = f"--connection: {given!r} is a connection to {actual}; name one to {source}"
            raise CommandError(msg, code=USAGE)
        return given
    fitting = [name for name, raw in connections.items() if raw["source"] == source]
    if not fitting:
        msg = f"--source: the configuration has no connection to {source}, so nothing can come in; add one"
        raise CommandError(msg, code=USAGE)
    if len(fitting) > 1:
        remark(f"taken to come in at the connection {fitting[0]}; --connection names another")
    return fitting[0]


def _show(reading: Reading, name: str, answers: list[tuple[Any, list[Verdict]]]) -> None:
    say(f"{reading.file}: {reading.outcome} by {name}" + (f" ({reading.reason})" if reading.reason else ""))
    if not answers:
        say("no event comes of it, so no rule is asked")
        return
    for event, verdicts in answers:
        matched = sum(verdict.matched for verdict in verdicts)
        say(f"{event.type}  {event.subject}  {event.id}: {matched} of {len(verdicts)} rules match")
        table(
            ("rule", "verdict", "clause", "expected", "seen", "reason"),
            [
                (one.rule, one.outcome.value, one.clause, one.expected, one.seen, one.reason)
                for one in verdicts
            ],
            states="verdict",
        )

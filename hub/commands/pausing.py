"""`pause` and `resume`: the switch that stops a rule, a team or everything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from hub.commands.operating import Json, Url, ask
from hub.commands.terminal import USAGE, CommandError, as_json, emit, honest, moment, say

if TYPE_CHECKING:
    from hub.records import Records
    from hub.spend_models import PauseList, PauseView, ResumeView

OfRule = Annotated[str | None, typer.Option("--rule", metavar="NAME", help="This rule.")]
OfTeam = Annotated[str | None, typer.Option("--team", metavar="NAME", help="Every rule of this team.")]
Everything = Annotated[bool, typer.Option("--all", help="Everything.")]
Scope = Literal["rule", "team", "all"]


@honest
def pause(
    *,
    rule: OfRule = None,
    team: OfTeam = None,
    everything: Everything = False,
    reason: Annotated[str | None, typer.Option(metavar="TEXT", help="Why; it is kept.")] = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """Stop a rule, a team or everything; without any of them, tell what is paused.

    New events are recorded as suppressed, runs that wait are held. Runs at work go on: `runs cancel` stops them.
    """
    if reason is not None and not reason.strip():
        raise CommandError("--reason: leave it out, or say something", code=USAGE)
    wanted = _wanted(rule, team, everything=everything)

    if wanted is None:
        _list(url, as_it_is=json)
        return
    scope, name = wanted

    async def question(records: Records) -> PauseView:
        from hub.api_requests import PauseRequest  # noqa: PLC0415 - --help must not pay for it

        return await records.pause(PauseRequest(scope=scope, name=name, reason=reason))

    found = ask(url, question)
    if json:
        emit(as_json(found))
    else:
        say(told(found))


def _list(url: str | None, *, as_it_is: bool) -> None:
    async def question(records: Records) -> PauseList:
        return await records.pauses()

    found = ask(url, question)
    if as_it_is:
        emit(as_json(found))
        return
    for one in found.items:
        say(told(one))
    if not found.items:
        say("nothing is paused")


@honest
def resume(
    *,
    rule: OfRule = None,
    team: OfTeam = None,
    everything: Everything = False,
    url: Url = None,
    json: Json = False,
) -> None:
    """Let a rule, a team or everything go on: runs that were held are taken up.

    Events that came meanwhile stay suppressed; `replay EVENT_ID` asks the rules about one again.
    """
    wanted = _wanted(rule, team, everything=everything)
    if wanted is None:
        msg = "name what is to go on: --rule NAME, --team NAME or --all"
        raise CommandError(msg, code=USAGE)
    scope, name = wanted

    async def question(records: Records) -> ResumeView:
        from hub.api_requests import ResumeRequest  # noqa: PLC0415 - --help must not pay for it

        return await records.resume(ResumeRequest(scope=scope, name=name))

    found = ask(url, question)
    if json:
        emit(as_json(found))
    else:
        from hub.spend_views import called  # noqa: PLC0415 - --help must not pay for it

        say(f"{called(found.scope, found.name)} goes on")


def told(one: PauseView) -> str:
    """A pause in one line."""
    from hub.spend_views import called  # noqa: PLC0415 - --help must not pay for it

    because = f", because: {one.reason}" if one.reason else ""
    return f"{called(one.scope, one.name)} is paused since {moment(one.at)} by {one.by}{because}"


def _wanted(rule: str | None, team: str | None, *, everything: bool) -> tuple[Scope, str] | None:
    given: list[tuple[Scope, str]] = []
    if rule is not None:
        given.append(("rule", rule))
    if team is not None:
        given.append(("team", team))
    if everything:
        given.append(("all", ""))
    if len(given) > 1:
        raise CommandError("choose one of --rule, --team and --all", code=USAGE)
    if given and given[0][0] != "all" and not 0 < len(given[0][1]) <= 100:  # noqa: PLR2004 - as the configuration has it
        raise CommandError(f"--{given[0][0]}: a name has 1 to 100 characters", code=USAGE)
    return given[0] if given else None

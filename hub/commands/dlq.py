"""`dlq list`, `dlq show`, `dlq retry` and `dlq drop`: messages that no consumer could take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Final

import typer

from hub.commands.operating import Json, Limit, Url, ask, gather
from hub.commands.terminal import (
    FAILED,
    USAGE,
    CommandError,
    as_json,
    complain,
    emit,
    emit_bytes,
    honest,
    moment,
    remark,
    say,
    stop,
    table,
)

if TYPE_CHECKING:
    from hub.api_models import LetterChange, LetterDetail, LetterSummary
    from hub.records import Records

app = typer.Typer(name="dlq", help="Dead letters: what no consumer could take.", no_args_is_help=True)
SHOWN: Final = 4_000
"""Most characters of a message that `show` prints; `--raw` has them all."""
ALL: Final = 10_000
"""Most letters that one `retry --all` takes."""
LetterId = Annotated[
    str,
    typer.Argument(metavar="ID", help="The id, or an unmistakable beginning of it.", show_default=False),
]


@app.command("list")
@honest
def list_letters(
    *,
    status: Annotated[
        str | None, typer.Option(metavar="STATUS", help="Only these: dead, retrying, retried, dropped.")
    ] = None,
    topic: Annotated[str | None, typer.Option(metavar="TOPIC", help="Only of this topic.")] = None,
    limit: Limit = 20,
    url: Url = None,
    json: Json = False,
) -> None:
    """List dead letters, newest first."""
    _check_status(status)

    async def question(records: Records) -> list[LetterSummary]:
        return await _letters(records, limit, status=status, topic=topic)

    found = ask(url, question)
    if json:
        emit(as_json(found))
        return
    table(
        ("letter", "died", "status", "reason"),
        [(one.id, moment(one.at), one.status, one.reason) for one in found],
        states="status",
    )


@app.command("show")
@honest
def show_letter(
    letter_id: LetterId,
    *,
    raw: Annotated[
        bool, typer.Option("--raw", help="Write the bytes, all of them and nothing else.")
    ] = False,
    url: Url = None,
    json: Json = False,
) -> None:
    """Show one dead letter: where it stood, why it died, and what it says."""
    import base64  # noqa: PLC0415 - --help must not pay for it

    if raw and json:
        raise CommandError("--raw and --json: choose one", code=USAGE)

    async def question(records: Records) -> LetterDetail:
        return await records.letter(letter_id)

    found = ask(url, question)
    value = base64.b64decode(found.value_base64)
    if raw:
        emit_bytes(value)
    elif json:
        emit(as_json(found))
    else:
        _show(found, value)


@app.command("retry")
@honest
def retry_letters(
    letter_ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="ID…", help="Ids, or beginnings of them.", show_default=False),
    ] = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help="Every letter that is dead.")] = False,
    url: Url = None,
    json: Json = False,
) -> None:
    """Put dead letters back on their topic, with their original bytes.

    Repair the cause first: what dies again is a new dead letter. A running hub publishes them; without one they wait.
    """
    if bool(letter_ids) == everything:
        raise CommandError("name the letters, or give --all, and not both", code=USAGE)

    async def question(records: Records) -> tuple[list[LetterChange], list[str]]:
        wanted = letter_ids or [one.id for one in await _letters(records, ALL, status="dead", topic=None)]
        return await _retry(records, wanted)

    changed, refused = ask(url, question)
    if json:
        emit(as_json(changed))
    else:
        for one in changed:
            again = " already" if one.status_before == one.status else ""
            say(f"{one.id} is{again} on its way to {one.topic} again")
        if not changed and not refused:
            remark("no letter is dead")
    for why in refused:
        complain(why)
    if refused:
        stop(FAILED)


@app.command("drop")
@honest
def drop_letter(
    letter_id: LetterId,
    *,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why; it is kept with the letter.")],
    url: Url = None,
    json: Json = False,
) -> None:
    """Give a dead letter up. Its bytes stay in the database."""
    if not reason.strip():
        raise CommandError("--reason: say why, for whoever looks for it later", code=USAGE)

    async def question(records: Records) -> LetterChange:
        return await records.drop(letter_id, reason=reason)

    dropped = ask(url, question)
    if json:
        emit(as_json(dropped))
    else:
        say(f"{dropped.id} was {dropped.status_before} and is dropped")


async def _letters(
    records: Records, limit: int, *, status: str | None, topic: str | None
) -> list[LetterSummary]:
    from hub.letter_views import LetterFilter  # noqa: PLC0415 - --help must not pay for it

    wanted = LetterFilter(status=status, topic=topic)
    return await gather(lambda size, at: records.letters(wanted, limit=size, cursor=at), limit)


async def _retry(records: Records, letter_ids: Sequence[str]) -> tuple[list[LetterChange], list[str]]:
    """What was asked for, and why the others were not: one that is unknown does not stop the rest."""
    from hub.records import RecordsError  # noqa: PLC0415 - --help must not pay for it

    changed: list[LetterChange] = []
    refused: list[str] = []
    for one in letter_ids:
        try:
            changed.append(await records.retry(one))
        except RecordsError as error:
            refused.append(str(error))
    return changed, refused


def _show(found: LetterDetail, value: bytes) -> None:
    import base64  # noqa: PLC0415 - --help must not pay for it

    topic, _, position = found.id.partition("/")
    partition, _, offset = position.rpartition("/")[0].partition("/")
    key = None if found.key_base64 is None else base64.b64decode(found.key_base64)
    fields = {
        "letter": found.id,
        "status": found.status,
        "topic": topic,
        "partition": partition,
        "offset": offset,
        "key": None if key is None else readable(key)[0],
        "died": moment(found.at),
        "reason": found.reason,
        "announces": found.ref,
        "repeats": found.repeats,
        "resolved": moment(found.resolved_at) if found.resolved_at else None,
        "because": found.note,
        "size": f"{found.size} bytes",
    }
    for name, field in fields.items():
        if field:
            say(f"{name:<10}  {field}")
    text, how = readable(value)
    say(f"\nthe message, {how}:")
    say(text[:SHOWN])
    if len(text) > SHOWN:
        remark(f"cut after {SHOWN} of {len(text)} characters; --raw writes all {found.size} bytes")


def readable(value: bytes) -> tuple[str, str]:
    """Bytes for a person, and how they are shown: as the text that they are, else in hex."""
    import json  # noqa: PLC0415 - --help must not pay for it

    try:
        text = value.decode()
    except UnicodeDecodeError:
        return value.hex(" ", 4), "in hex"
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return (text, "as text") if text.isprintable() else (value.hex(" ", 4), "in hex")
    return text, "as JSON"


def _check_status(status: str | None) -> None:
    from router.problems import unknown  # noqa: PLC0415 - --help must not pay for it
    from storage.tables import LetterStatus  # noqa: PLC0415 - the same

    known = [one.value for one in LetterStatus]
    if status is not None and status not in known:
        raise CommandError(f"--status: {unknown('status', status, known)}", code=USAGE)

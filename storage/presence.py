"""Signs of presence: wanted together with the run, claimed under a lease, done when they show the run's end.

A sign is level-triggered: whoever claims one reads how the run stands *now*. So nothing is lost when a change is not
announced, changes that come thick are one edit, and the last state always wins. Nothing here knows a vendor.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel, ConfigDict
from sqlalchemy import (
    ColumnElement,
    Connection,
    Update,
    and_,
    bindparam,
    case,
    func,
    literal,
    or_,
    select,
    update,
)

from schemas.dispatch import Dispatch
from schemas.result import Origin, Receipt
from storage.clock import read_clock
from storage.conversations import run_id_of
from storage.presence_tables import PresenceRow, PresenceStatus
from storage.rows import insert_new, plain, table
from storage.statements import Fixed

SEEN: Final = "seen"
STATUS: Final = "status"
CHECK: Final = "check"
CALM_SHARE: Final = 1 / 20
"""Of the time since it was wanted, between two edits that nobody waits for: a long run tells less often."""
LOOK_SECONDS: Final = 15.0
"""Between two looks at a run of which nothing was heard; up to MAX_LOOK_SECONDS the longer nothing changes."""
MAX_LOOK_SECONDS: Final = 300.0
"""Changes make a look due at once; this one only finds what did not."""
SOON_SECONDS: Final = 2.0
"""Before the next look at a follow-up that waits to be told: it may become a turn, or part of another's."""
MAX_ERROR: Final = 1000
_PRIORITY: Final[Mapping[str, int]] = {SEEN: 0, STATUS: 1, CHECK: 2}
_LATER: Final = 3
"""Priority of whatever has shown something before."""


class Wanted(BaseModel):
    """What a sign needs to know of its rule and event."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    rule: str
    origin: Origin
    follow_up: bool = False
    publish_to: str | None = None
    check: str | None = None
    """Name of the check or commit status."""
    pull: str | None = None
    """`owner/repo#12`: the pull request that the check is on, where it is not the origin."""
    budget_cents: int | None = None
    timeout_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class PresenceClaim:
    """A sign as one poster holds it."""

    run_id: str
    kind: str
    owner: str
    fence: int
    connection: str
    wanted: Wanted
    receipt: Receipt | None
    shown: str | None
    gone: bool
    tried: int
    """This claim included, where it may make the artefact."""
    failures: int
    activity: str | None
    changes: int
    updated_at: float
    age: float
    """Seconds since it was wanted."""
    now: float
    """When it was claimed."""

    @property
    def slot(self) -> str:
        """Names the artefact in its marker. Changing this breaks the finding of earlier ones."""
        return "status-end" if self.gone else STATUS


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a claim, for `settle`."""

    claim: PresenceClaim
    status: PresenceStatus = PresenceStatus.OPEN
    delay: float = 0.0
    """Seconds until the next look, where it stays open."""
    receipt: Receipt | None = None
    shown: str | None = None
    """Hash of what it shows now; None: nothing was changed."""
    error: str | None = None
    failed: bool = False
    untried: bool = False
    """Nothing was sent, so the claim was no try at making it."""
    gone: bool = False
    edit_seconds: float = 0.0
    """The least time between two edits of one artefact, as the vendor wants it."""
    together: int = 1
    """So many artefacts of the connection may be edited that often; more of them wait longer."""


def _touch(column: str) -> Update:
    rows = table(PresenceRow)
    before = rows.c[column]
    soonest = case((before > bindparam("now"), before), else_=bindparam("now"))
    mine = and_(rows.c.run_id == bindparam("run"), rows.c.status == PresenceStatus.OPEN.value)
    due = case((rows.c.due_at > soonest, soonest), else_=rows.c.due_at)
    return update(rows).where(mine).values(due_at=due, changes=rows.c.changes + bindparam("counted"))


_TOUCH: Final = Fixed(lambda: _touch("not_before"))
_TOUCH_CALMLY: Final = Fixed(lambda: _touch("calm_before"))


def want(connection: Connection, dispatch: Dispatch) -> None:
    """Store what is to be shown of a new run, in the transaction that makes it."""
    if dispatch.staged:
        return
    kinds = []
    if dispatch.presence in {"seen", "status"}:
        kinds.append(SEEN)
    if dispatch.presence == "status":
        kinds.append(STATUS)
    if dispatch.check is not None:
        kinds.append(CHECK)
    if not kinds:
        return
    wanted = Wanted(
        rule=dispatch.rule,
        origin=dispatch.origin,
        follow_up=dispatch.follow_up,
        publish_to=dispatch.publish_to,
        check=dispatch.check,
        budget_cents=dispatch.limits.budget_cents,
        timeout_seconds=dispatch.limits.timeout_seconds,
    )
    now, run_id = read_clock(connection), run_id_of(dispatch.id)
    rows = [_row(run_id, kind, dispatch.event.connection, wanted, now=now) for kind in kinds]
    insert_new(connection, PresenceRow, rows)


def want_check(connection: Connection, claim: PresenceClaim, *, connection_name: str, pull: str) -> None:
    """A further pull request of the run gets a check of its own, once."""
    wanted = claim.wanted.model_copy(update={"pull": pull})
    kind = f"{CHECK}:{pull}"[:300]
    row = _row(claim.run_id, kind, connection_name, wanted, now=read_clock(connection))
    insert_new(connection, PresenceRow, [row])


def _row(run_id: str, kind: str, connection_name: str, wanted: Wanted, *, now: float) -> dict[str, Any]:
    return {
        "run_id": run_id,
        "kind": kind,
        "connection": connection_name,
        "wanted": wanted.model_dump_json(),
        "status": PresenceStatus.OPEN.value,
        "priority": _PRIORITY[kind.partition(":")[0]],
        "gone": False,
        "tried": 0,
        "failures": 0,
        "due_at": now,
        "not_before": now,
        "calm_before": now,
        "changes": 0,
        "fence": 0,
        "created_at": now,
        "updated_at": now,
    }


def touch(connection: Connection, run_id: str, *, now: float, waited_for: bool = True) -> None:
    """Something changed in the run: look as soon as an edit is due. Only makes it prompt; looks come anyway.

    `waited_for`: people wait for this, such as the end; it is held back by nothing but the vendor's limit.
    """
    if waited_for:
        _TOUCH.run(connection, run=run_id, now=now, counted=1)
    else:
        _TOUCH_CALMLY.run(connection, run=run_id, now=now, counted=0)


def note_activities(connection: Connection, activities: Mapping[str, str]) -> None:
    """What the agents of these runs did last, in words of ours."""
    rows = table(PresenceRow)
    now = read_clock(connection)
    for run_id, words in sorted(activities.items()):
        mine = and_(
            rows.c.run_id == run_id, rows.c.kind == STATUS, rows.c.status == PresenceStatus.OPEN.value
        )
        connection.execute(update(rows).where(mine).values(activity=words[:200]))
        touch(connection, run_id, now=now, waited_for=False)


def tells(connection: Connection, run_id: str) -> bool:
    """Whether a status message tells how the run ends, so that nobody else need do it."""
    rows = table(PresenceRow)
    query = select(rows.c.status).where(and_(rows.c.run_id == run_id, rows.c.kind == STATUS))
    found = connection.execute(query).scalar_one_or_none()
    return found is not None and found != PresenceStatus.DROPPED.value


def is_due(connection: Connection) -> bool:
    """Whether there is anything to claim."""
    rows = table(PresenceRow)
    query = select(rows.c.run_id).where(_due(read_clock(connection))).limit(1)
    return connection.execute(query).first() is not None


def _due(now: float) -> Any:
    rows = table(PresenceRow)
    free = or_(rows.c.lease_until.is_(None), rows.c.lease_until < now)
    return and_(rows.c.status == PresenceStatus.OPEN.value, rows.c.due_at <= now, free)


def claim_presence(
    connection: Connection, *, owner: str, limit: int, lease: float, without: Collection[str] = ()
) -> list[PresenceClaim]:
    """Claim signs that are due, the most urgent first, `without` those of some connections."""
    rows = table(PresenceRow)
    now = read_clock(connection)
    query = select(rows).where(_due(now)).order_by(rows.c.priority, rows.c.due_at).limit(limit)
    if without:
        query = query.where(rows.c.connection.not_in(sorted(without)))
    if connection.dialect.name == "postgresql":
        query = query.with_for_update(skip_locked=True)
    claims = []
    for row in connection.execute(query).mappings().all():
        makes = row["receipt"] is None
        changes = {
            "lease_owner": owner,
            "lease_until": now + lease,
            "fence": row["fence"] + 1,
            "tried": row["tried"] + makes,
        }
        mine = and_(rows.c.run_id == row["run_id"], rows.c.kind == row["kind"])
        connection.execute(update(rows).where(mine).values(**changes))
        claims.append(
            PresenceClaim(
                run_id=row["run_id"],
                kind=row["kind"],
                owner=owner,
                fence=row["fence"] + 1,
                connection=row["connection"],
                wanted=Wanted.model_validate_json(row["wanted"]),
                receipt=None if makes else Receipt.model_validate_json(row["receipt"]),
                shown=row["shown"],
                gone=row["gone"],
                tried=row["tried"] + makes,
                failures=row["failures"],
                activity=row["activity"],
                changes=row["changes"],
                updated_at=row["updated_at"],
                age=now - row["created_at"],
                now=now,
            )
        )
    return claims


def settle(connection: Connection, outcomes: Sequence[Outcome]) -> int:
    """Store what became of claims, and let go of them. Return how many were still held."""
    return sum(_settle(connection, outcome) for outcome in outcomes)


def _settle(connection: Connection, outcome: Outcome) -> int:
    rows, claim = table(PresenceRow), outcome.claim
    now = read_clock(connection)
    later = now + outcome.delay
    soonest: ColumnElement[float] = rows.c.not_before
    values: dict[str, Any] = {
        "status": outcome.status.value,
        "lease_owner": None,
        "lease_until": None,
        "error": plain(outcome.error, limit=MAX_ERROR),
        "failures": claim.failures + 1 if outcome.failed else 0,
    }
    if outcome.shown is not None:
        calm = now + _calm_for(connection, outcome, now=now)
        later = max(later, calm)
        soonest = literal(now + outcome.edit_seconds)
        values |= {
            "shown": outcome.shown,
            "updated_at": now,
            "not_before": now + outcome.edit_seconds,
            "calm_before": calm,
            "priority": _LATER,
        }
    # What changed while this was shown is not in it: the next look comes as soon as the vendor allows.
    missed = rows.c.changes != claim.changes
    values["due_at"] = later if outcome.failed else case((missed, soonest), else_=later)
    if outcome.receipt is not None:
        values["receipt"] = outcome.receipt.model_dump_json()
        if claim.kind in {SEEN, STATUS}:  # a check names a commit, which is not ours
            values["artefact"] = plain(outcome.receipt.artefact, limit=500)
    if outcome.gone:
        # What stood there is gone; what is made next is another thing, which nobody has tried to make.
        values |= {"gone": True, "receipt": None, "tried": 0}
    elif outcome.untried and claim.receipt is None:
        values["tried"] = claim.tried - 1
    mine = and_(
        rows.c.run_id == claim.run_id,
        rows.c.kind == claim.kind,
        rows.c.lease_owner == claim.owner,
        rows.c.fence == claim.fence,
        rows.c.status == PresenceStatus.OPEN.value,
    )
    return connection.execute(update(rows).where(mine).values(**values)).rowcount


def _calm_for(connection: Connection, outcome: Outcome, *, now: float) -> float:
    """Seconds until the next edit that nobody waits for: this artefact's share of what the connection may do."""
    rows = table(PresenceRow)
    claim = outcome.claim
    beside = and_(
        rows.c.connection == claim.connection,
        or_(rows.c.run_id != claim.run_id, rows.c.kind != claim.kind),
        rows.c.status == PresenceStatus.OPEN.value,
        rows.c.priority == _LATER,
    )
    count: int = connection.execute(select(func.count()).select_from(rows).where(beside)).scalar_one()
    share = outcome.edit_seconds * max(1.0, (count + 1) / outcome.together)
    return max(share, (now - claim.now + claim.age) * CALM_SHARE)


def release_all(connection: Connection, *, except_owner: str, settle_seconds: float = 0.0) -> None:
    """End every lease of owners other than `except_owner`: only where one process owns the database."""
    rows = table(PresenceRow)
    until = read_clock(connection) + settle_seconds
    taken = and_(
        rows.c.lease_owner.is_not(None), rows.c.lease_owner != except_owner, rows.c.lease_until > until
    )
    connection.execute(update(rows).where(taken).values(lease_until=until))


def presence_of(connection: Connection, run_id: str) -> list[dict[str, Any]]:
    """The signs of a run, for people who look."""
    rows = table(PresenceRow)
    columns = (rows.c.kind, rows.c.status, rows.c.receipt, rows.c.error, rows.c.updated_at)
    query = select(*columns).where(rows.c.run_id == run_id).order_by(rows.c.priority, rows.c.kind)
    return [dict(row) for row in connection.execute(query).mappings()]


def quiet_for(claim: PresenceClaim) -> float:
    """Seconds until the next look at a run of which there is nothing new to show."""
    return min(MAX_LOOK_SECONDS, max(LOOK_SECONDS, (claim.now - claim.updated_at) / 4))

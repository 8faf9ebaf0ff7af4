"""What became of each scenario, read from the hub's own database. Shows nothing itself."""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlalchemy import Connection, select

from hub.demo.scenarios import Scenario
from schemas.result import Receipt
from storage.rows import table
from storage.states import RUN_TERMINAL
from storage.tables import ResultRow, RunRow, RunStatus, VerdictRow


@dataclass(slots=True)
class Posted:
    """One artefact."""

    output: str
    url: str | None
    status: str
    error: str | None


@dataclass(slots=True)
class Standing:
    """How far a scenario is."""

    scenario: Scenario
    event_id: str | None = None
    answer: str = ""
    """Status line of the webhook's answer."""
    verdict: str = ""
    run_id: str | None = None
    status: str = ""
    session_id: str | None = None
    cost_cents: int | None = None
    error: str | None = None
    posted: list[Posted] = field(default_factory=list)

    @property
    def ended(self) -> bool:
        return self.status in {status.value for status in RUN_TERMINAL}

    @property
    def shortcomings(self) -> list[str]:
        """What is not as it should be at the end; empty for success."""
        if self.event_id is None:
            return [f"the webhook was answered {self.answer or 'not at all'}"]
        if not self.ended:
            return [f"it did not end in time (now: {self.status or 'no run'})"]
        found: list[str] = []
        if self.status != RunStatus.SUCCEEDED:
            found.append(f"the run ended as {self.status}: {self.error}")
        for output, wanted in self.scenario.outputs.items():
            count = sum(posted.output == output and posted.status == "posted" for posted in self.posted)
            if count != wanted:
                found.append(f"{output}: {count} posted, {wanted} expected")
        return found


def refresh(connection: Connection, standing: Standing) -> None:
    """Bring `standing` up to date."""
    if standing.event_id is None:
        return
    verdicts, runs, results = table(VerdictRow), table(RunRow), table(ResultRow)
    rule = standing.scenario.rule
    verdict = connection.execute(
        select(verdicts.c.outcome).where(verdicts.c.event_id == standing.event_id, verdicts.c.rule == rule)
    ).scalar_one_or_none()
    standing.verdict = verdict or ""
    run = (
        connection.execute(select(runs).where(runs.c.event_id == standing.event_id, runs.c.rule == rule))
        .mappings()
        .one_or_none()
    )
    if run is None:
        return
    standing.run_id, standing.status, standing.error = run["id"], run["status"], run["error"]
    standing.session_id, standing.cost_cents = run["session_id"], run["cost_cents"]
    rows = connection.execute(
        select(results).where(results.c.run_id == run["id"]).order_by(results.c.created_at)
    )
    standing.posted = [
        Posted(
            output=row["output"],
            url=Receipt.model_validate_json(row["receipt"]).url if row["receipt"] else None,
            status=row["status"],
            error=row["error"],
        )
        for row in rows.mappings()
    ]

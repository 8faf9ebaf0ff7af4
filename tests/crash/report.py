"""What a run of the harness did and found: for people, as a record in a file, and several of them together."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path


@dataclass(slots=True)
class Report:
    """What was done and what came of it."""

    setup: str
    seed: int
    folder: Path
    """Where the logs of every life are."""
    deliveries: int = 0
    copies: int = 0
    """Deliveries of something that was delivered before."""
    facts: int = 0
    wanted: int = 0
    attempts: int = 0
    looks: int = 0
    """How often it was checked, under fire, that every row would be found by some sweep."""
    answers: Counter[str] = field(default_factory=Counter)
    kills: Counter[str] = field(default_factory=Counter)
    others: Counter[str] = field(default_factory=Counter)
    failed_starts: list[str] = field(default_factory=list)
    """Lives that ended before they began, because a service was away; a container would be started again too."""
    seconds: float = 0.0
    settled_after: float = 0.0
    events: int = 0
    runs: int = 0
    work: int = 0
    sessions: int = 0
    empty_sessions: int = 0
    artefacts: int = 0
    violations: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """For people."""
        kills = ", ".join(f"{name} {count}" for name, count in sorted(self.kills.items()))
        others = ", ".join(f"{name} {count}" for name, count in sorted(self.others.items()))
        answers = ", ".join(f"{name}: {count}" for name, count in sorted(self.answers.items()))
        return [
            f"set-up {self.setup}, seed {self.seed}, {self.seconds:.0f} s in all",
            (
                f"  load: {self.deliveries} deliveries ({self.copies} of them copies, all out of order) of "
                f"{self.facts} facts, {self.wanted} of them to be worked on; "
                f"{self.attempts} attempts, {self.attempts - self.deliveries} of them retries ({answers})"
            ),
            f"  kills: {self.kills.total()} ({kills})",
            f"  faults: {self.others.total()} ({others})",
            (
                f"  settled {self.settled_after:.1f} s after the last of them; "
                f"{self.looks} looks for rows that no sweep would find"
            ),
            (
                f"  found: {self.events} events, {self.runs} runs, {self.work} pieces of work in "
                f"{self.sessions} sessions ({self.empty_sessions} empty spares beside them), "
                f"{self.artefacts} marked artefacts"
            ),
            *(f"  did not start: {one}" for one in self.failed_starts),
            *(f"  VIOLATION: {one}" for one in self.violations),
            f"  {'FAILED' if self.violations else 'passed'}",
        ]

    def record(self) -> str:
        """One line that `read_reports` reads."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        return json.dumps({**values, "folder": self.folder.name})


def read_reports(files: Sequence[Path]) -> list[Report]:
    """Reports from files with a record in each line, sorted."""
    found: list[Report] = []
    for line in (line for file in files for line in file.read_text(encoding="utf-8").splitlines()):
        values = json.loads(line)
        values |= {name: Counter(values[name]) for name in ("answers", "kills", "others")}
        found.append(Report(**{**values, "folder": Path(values["folder"])}))
    return sorted(found, key=lambda one: (one.setup, one.seed))


def totals(reports: Sequence[Report]) -> list[str]:
    """A line for each set-up, and one for all."""
    names = sorted({one.setup for one in reports})
    groups = [(name, [one for one in reports if one.setup == name]) for name in names]
    if len(groups) > 1:
        groups.append(("both", list(reports)))
    return [_total(name, some) for name, some in groups]


def _total(name: str, reports: Sequence[Report]) -> str:
    def all_of(field_name: str) -> int:
        return sum(getattr(one, field_name) for one in reports)

    kills = sum((one.kills for one in reports), Counter[str]())
    others = sum((one.others for one in reports), Counter[str]())
    failed = sum(bool(one.violations) for one in reports)
    return (
        f"{name}: {len(reports)} runs, {failed} failed; {kills.total()} kills, {others.total()} other faults; "
        f"{all_of('deliveries')} deliveries of {all_of('facts')} facts in {all_of('attempts')} attempts; "
        f"{all_of('runs')} runs, {all_of('work')} pieces of work, {all_of('artefacts')} marked artefacts; "
        f"{all_of('looks')} looks; {sum(len(one.violations) for one in reports)} violations"
    )

"""A short run of the crash harness on each set-up, sixty kills in all. `make crash` runs longer ones.

TRIGGERHUB_CRASH_SEED is another seed than the one that every test run has.
"""

from __future__ import annotations

import os

import pytest
from services.kafka import Kafka
from services.postgres import Postgres

from crash.cluster import cluster
from crash.harness import Harness
from crash.report import Report
from crash.setups import SetUp, embedded
from crash.webhooks import Load

pytestmark = pytest.mark.timeout(900)
KILLS = 30
SEED = int(os.environ.get("TRIGGERHUB_CRASH_SEED", "7"))


async def run(setup: SetUp) -> Report:
    harness = Harness(setup, Load(SEED, KILLS * 10), kills=KILLS, say=lambda _: None)
    report = await harness.run()
    print("\n".join(report.lines()))  # noqa: T201 - pytest shows it where the run failed
    return report


def judged(report: Report) -> None:
    assert report.violations == [], f"{len(report.violations)} violations; the logs are in {report.folder}"
    assert report.kills.total() == KILLS
    assert report.events == report.facts
    assert report.runs == report.work == report.wanted
    assert report.attempts > report.deliveries  # some met a hub that was not there, and were sent again


@pytest.mark.long(70)
async def test_nothing_is_lost_or_done_twice_embedded() -> None:
    async with embedded(presence="status") as setup:
        judged(await run(setup))


@pytest.mark.long(120)
@pytest.mark.kafka
@pytest.mark.postgres
async def test_nothing_is_lost_or_done_twice_in_a_cluster(kafka: Kafka, postgres: Postgres) -> None:
    async with cluster(kafka, postgres) as setup:
        judged(await run(setup))

"""Issue 4's story: forty steps through four tools and one session, with ten kills, on both set-ups.

TRIGGERHUB_CRASH_SEED is another seed than the one that every test run has.
"""

from __future__ import annotations

import os

import pytest
from crash.cluster import cluster
from crash.setups import SetUp, embedded
from services.kafka import Kafka
from services.postgres import Postgres
from story.quotes import ELSEWHERE, THREAD, unsaid
from story.steps import STORY
from story.tale import follow
from story.telling import deaths, tell

pytestmark = pytest.mark.timeout(300)
KILLS = 10
SEED = int(os.environ.get("TRIGGERHUB_CRASH_SEED", "7"))


async def told(setup: SetUp) -> None:
    telling = await tell(setup, seed=SEED, kills=KILLS)
    assert telling.violations == [], f"the logs are in {setup.folder}"
    assert telling.seen == [step.title for step in STORY]
    assert len(telling.seen) == 40
    assert len(telling.kills) == KILLS
    assert unsaid([*THREAD, *ELSEWHERE], telling.said) == [], (
        "the picture in the README quotes what nobody said"
    )


@pytest.mark.long(60)
async def test_the_story_embedded() -> None:
    async with embedded(edit=follow) as setup:
        assert len({kill.step for kill in deaths(setup, seed=SEED, kills=KILLS)}) == KILLS
        await told(setup)


@pytest.mark.long(130)
@pytest.mark.kafka
@pytest.mark.postgres
async def test_the_story_in_a_cluster(kafka: Kafka, postgres: Postgres) -> None:
    async with cluster(kafka, postgres, edit=follow) as setup:
        await told(setup)

"""The harness itself is tested: with one of the hub's checks switched off it must fail, and say why."""

from __future__ import annotations

import pytest

from crash.harness import Harness
from crash.outside import Artefact, twice
from crash.schedule import schedule
from crash.setups import Embedded, embedded
from crash.webhooks import Load

pytestmark = pytest.mark.timeout(300)


@pytest.mark.parametrize(
    ("switch", "noticed"),
    [
        ("find", "artefacts made twice"),
        ("reconcile", "made and never used nor archived"),
        ("dedup", "different facts were acknowledged"),
    ],
)
async def test_it_fails_with_a_check_switched_off(switch: str, noticed: str) -> None:
    async with embedded(without=[switch]) as setup:
        harness = Harness(setup, Load(5, 120), kills=8, say=lambda _: None)
        report = await harness.run(stall=12)
    assert any(noticed in violation for violation in report.violations), "\n".join(report.lines())


def test_the_same_seed_gives_the_same_schedule_and_load(tmp_path_factory: pytest.TempPathFactory) -> None:
    setup = Embedded(tmp_path_factory.mktemp("setup"))
    assert schedule(setup, seed=3, kills=50) == schedule(setup, seed=3, kills=50)
    assert schedule(setup, seed=3, kills=50) != schedule(setup, seed=4, kills=50)
    first, second, other = Load(3, 200, began=1), Load(3, 200, began=1), Load(4, 200, began=1)
    assert first.deliveries() == second.deliveries()
    assert first.deliveries() != other.deliveries()


def test_a_schedule_has_as_many_kills_as_asked_for(tmp_path_factory: pytest.TempPathFactory) -> None:
    setup = Embedded(tmp_path_factory.mktemp("setup"))
    for seed in range(20):
        acts = schedule(setup, seed=seed, kills=60)
        assert sum({"kill": 1, "disk": 2}.get(act.kind, 0) for act in acts) == 60


def test_a_load_repeats_facts_and_sends_them_out_of_order() -> None:
    load = Load(9, 400)
    sent = load.deliveries()
    assert len(sent) == 400
    assert len(load.facts) == 340
    assert {one.source for one in load.facts} == {"github", "jira", "sentry", "slack"}
    order = [load.facts.index(one) for one in sent]
    assert order != sorted(order)
    assert len({one.body for one in load.facts}) == len(load.facts)


def test_a_second_artefact_of_one_slot_is_noticed() -> None:
    one = Artefact("github", "comment", "acme/checkout#1", "run_1", "final", 1, "")
    assert twice([one]) == []
    assert twice([one, one]) == ["2 times github run_1 final"]

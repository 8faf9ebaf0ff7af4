"""The five demo scenarios on both set-ups, judged by what stands in the outside world afterwards.

Embedded: the demo itself, in this process. Cluster: Apache Kafka, PostgreSQL, and every role and the sandbox in a
process of its own.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from crash.cluster import cluster
from crash.outside import Artefact, artefacts, twice, work_by_run
from crash.webhooks import Webhook
from services.kafka import Kafka
from services.postgres import Postgres

from hub.demo.progress import Standing, refresh
from hub.demo.run import demo_hub, play
from hub.demo.scenarios import SCENARIOS, webhook
from sandbox.managed_agents.state import AgentsState
from storage.database import open_database

pytestmark = pytest.mark.timeout(240)
SCENARIO_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Played:
    """One whole demo."""

    standings: Mapping[str, Standing]
    state: Mapping[str, Any]
    work: list[dict[str, Any]]

    def made(self, scenario: str) -> list[Artefact]:
        """What the scenario's run left outside."""
        run = self.standings[scenario].run_id
        return [one for one in artefacts(self.state) if one.run == run]


@pytest.fixture(
    scope="module",
    params=["embedded", pytest.param("cluster", marks=[pytest.mark.kafka, pytest.mark.postgres])],
)
def played(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Played:
    """All five scenarios, played once for all tests here."""
    if request.param == "embedded":
        return asyncio.run(play_embedded(tmp_path_factory.mktemp("demo") / "state"))
    kafka: Kafka = request.getfixturevalue("kafka")
    postgres: Postgres = request.getfixturevalue("postgres")
    return asyncio.run(play_in_cluster(kafka, postgres))


async def play_embedded(folder: Path) -> Played:
    """As `triggerhub demo` does."""
    async with demo_hub(folder) as demo:
        standings = await play(demo, show=lambda _: None)
        agents = demo.sandbox.world.agents
        assert isinstance(agents, AgentsState)
        work = [{"session_id": item.session_id, "text": item.text} for item in agents.work]
        # Through JSON, as another process would see it.
        state = json.loads(json.dumps(demo.sandbox.world.state(), default=str))
    return Played({one.scenario.name: one for one in standings}, state, work)


async def play_in_cluster(kafka: Kafka, postgres: Postgres) -> Played:
    """Webhooks over HTTP to the ingress process; everything else is seen from outside."""
    async with cluster(kafka, postgres) as setup:
        standings = [Standing(scenario) for scenario in SCENARIOS]
        async with httpx.AsyncClient(timeout=30, trust_env=False) as http:
            for standing in standings:
                headers, body = webhook(standing.scenario.webhook)
                source = standing.scenario.connection.removeprefix("acme-")
                sent = Webhook(source=source, headers=headers, body=body, subject="")
                answer = await sent.send(http, setup.ingress.url)
                standing.answer = f"{answer.status_code} {answer.reason_phrase}"
                (standing.event_id,) = answer.json()["events"]
        database = open_database(setup.database_url)
        try:
            async with asyncio.timeout(SCENARIO_SECONDS):
                while not all(standing.ended for standing in standings):
                    for standing in standings:
                        await database.read(refresh, standing)
                    await asyncio.sleep(0.1)
        finally:
            await database.close()
        found = Played(
            {one.scenario.name: one for one in standings},
            await setup.sandbox.state(),
            await setup.sandbox.work(),
        )
        assert {name: hub.stop() for name, hub in setup.hubs.items()} == dict.fromkeys(setup.hubs, 0)
        return found


@pytest.mark.parametrize("name", [scenario.name for scenario in SCENARIOS])
def test_every_scenario_ends_as_it_should(played: Played, name: str) -> None:
    standing = played.standings[name]
    assert standing.answer == "202 Accepted"
    assert standing.verdict == "matched"
    assert standing.shortcomings == []


def test_each_run_sent_its_work_to_one_session_once(played: Played) -> None:
    by_run = work_by_run(played.work)
    assert set(by_run) == {standing.run_id for standing in played.standings.values()}
    assert {run: len(sessions) for run, sessions in by_run.items()} == dict.fromkeys(by_run, 1)
    assert len({sessions[0] for sessions in by_run.values()}) == len(SCENARIOS)


def test_nothing_was_made_twice_and_no_session_is_left_at_work(played: Played) -> None:
    assert twice(artefacts(played.state)) == []
    assert [one["status"] for one in played.state["anthropic"]["sessions"]] == ["idle"] * len(SCENARIOS)
    assert sum(one["streams"] for one in played.state["anthropic"]["sessions"]) == 0


def test_the_sentry_alert_became_one_draft_pull_request(played: Played) -> None:
    repository = played.state["github"]["repos"]["acme/checkout"]
    pulls = [issue for issue in repository["issues"].values() if issue["pull"] is not None]
    assert len(pulls) == 1
    pull, run = pulls[0]["pull"], str(played.standings["sentry"].run_id)
    assert pulls[0]["body"].startswith(f"<!-- triggerhub run={run} slot=open_pull_request:")
    assert "ZeroDivisionError: division by zero" in pulls[0]["title"]
    assert "checkout.totals in apply_discount" in pulls[0]["body"]
    assert (pull["draft"], pull["base"]) == (True, "main")
    assert pull["head"] == f"triggerhub/{run.removeprefix('run_')[:12]}"
    assert repository["branches"][pull["head"]] == pull["head_sha"]


def test_the_sentry_issue_and_the_channel_were_told_of_the_pull_request(played: Played) -> None:
    made = played.made("sentry")
    assert sorted((one.source, one.kind) for one in made) == [
        ("github", "pull"),
        ("sentry", "comment"),
        ("slack", "message"),
    ]
    pull = next(one for one in made if one.kind == "pull")
    url = f"https://github.com/acme/checkout/pull/{pull.where.partition('#')[2]}"
    for told in (one for one in made if one.kind != "pull"):
        assert url in told.text
        assert "ZeroDivisionError: division by zero" in told.text
    assert next(one for one in made if one.source == "sentry").where == "5120034417"
    assert next(one for one in made if one.source == "slack").where.startswith("C0123456/")


def test_the_jira_issue_was_linked_moved_and_commented_on(played: Played) -> None:
    issue = played.state["jira"]["issues"]["SHOP-142"]
    assert issue["status"] == "In Review"
    pulls = [one for one in played.state["github"]["repos"]["acme/shop"]["issues"].values() if one["pull"]]
    assert len(pulls) == 1
    assert pulls[0]["pull"]["draft"] is False
    url = f"https://github.com/acme/shop/pull/{pulls[0]['number']}"
    assert [link["object"]["url"] for link in issue["remote_links"]] == [url]
    (comment,) = issue["comments"]
    assert comment["body"]["type"] == "doc"  # ADF
    text = json.dumps(comment["body"])
    assert "A customer with a gift card sees " in text
    # Jira's *bold* of the description came through as a mark and not as asterisks.
    assert {"type": "text", "text": "Payment declined"}.items() <= _leaf(
        comment["body"], "Payment declined"
    ).items()
    assert url in text


def test_the_github_mention_got_a_reaction_and_one_reply(played: Played) -> None:
    (reply,) = played.made("github")
    assert (reply.kind, reply.where, reply.slot) == ("comment", "acme/checkout#31", "final")
    assert "where do we round the total, and why does the receipt round again?" in reply.text
    assert "@triggerhub" not in reply.text  # nobody is mentioned by what was quoted
    repository = played.state["github"]["repos"]["acme/checkout"]
    comments = list(repository["loose_comments"].values())
    comments += [one for issue in repository["issues"].values() for one in issue["comments"]]
    (asked,) = [one for one in comments if one["id"] == 1930042100]
    assert [reaction["content"] for reaction in asked["reactions"]] == ["eyes"]


def test_the_failed_workflow_run_was_explained_on_its_pull_request(played: Played) -> None:
    (comment,) = played.made("ci")
    assert (comment.kind, comment.where) == ("comment", "acme/checkout#34")
    assert "Round once, at the end" in comment.text


def test_the_slack_mention_was_answered_in_its_thread(played: Played) -> None:
    (reply,) = played.made("slack")
    assert reply.where == "C0123456/1795336200.000100"
    assert "which service sends the receipts, and where is its code?" in reply.text
    assert "<@U0HUB001>" not in reply.text


def test_the_demo_command_exits_0(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TRIGGERHUB_")}
    ended = subprocess.run(
        [sys.executable, "-c", "from hub.cli import main; main()", "demo", "--once"],
        cwd=tmp_path,
        env=environment | {"NO_COLOR": "1", "COLUMNS": "200", "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "5 of 5 scenarios ended as they should" in ended.stdout
    assert (tmp_path / ".triggerhub").is_dir()


def _leaf(node: Any, text: str) -> dict[str, Any]:
    """The ADF text node that reads `text`."""
    if isinstance(node, dict):
        if node.get("text") == text:
            return node
        node = node.get("content", [])
    for inner in node if isinstance(node, list) else []:
        found = _leaf(inner, text)
        if found:
            return found
    return {}

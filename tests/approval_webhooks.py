"""Signed webhooks in which people decide and command: clicks, slash commands, comments. Holds no expectations."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

from crash.webhooks import CHANNEL, TEAM, Webhook, github_comment

from hub.demo.scenarios import webhook
from sandbox.slack.state import SlackMessage

ROOT: Final = Path(__file__).resolve().parents[1]
FORM: Final = {"content-type": "application/x-www-form-urlencoded"}


def by_github(
    number: int, comment: int, text: str, *, user: int = 5_100_231, trust: str = "MEMBER"
) -> Webhook:
    """A comment on an issue of acme/checkout by a person of one's choosing."""
    made = github_comment(number, comment, text, login=f"person-{user}")
    body = json.loads(made.body)
    for person in (body["comment"]["user"], body["sender"]):
        person["id"] = user
    body["comment"]["author_association"] = trust
    return replace(made, body=json.dumps(body).encode())


def edited(made: Webhook, text: str, *, moment: str = "2026-11-22T09:00:00Z") -> Webhook:
    """The same comment on GitHub, edited into another text."""
    body = json.loads(made.body)
    body["action"] = "edited"
    body["changes"] = {"body": {"from": body["comment"]["body"]}}
    body["comment"] |= {"body": text, "updated_at": moment}
    headers = {**made.headers, "x-github-delivery": "00000000-0000-4000-8000-00000000ed17"}
    return replace(made, headers=headers, body=json.dumps(body).encode())


def by_jira(key: str, comment: int, text: str, *, account: str) -> Webhook:
    """A comment on a Jira issue."""
    folder = ROOT / "connectors/jira/fixtures"
    body = json.loads((folder / "cloud_comment_created.json").read_bytes())
    headers = json.loads((folder / "cloud_comment_created.headers.json").read_bytes())
    body["issue"]["key"] = key
    body["comment"] |= {"id": str(comment), "body": text}
    for name in ("author", "updateAuthor"):
        body["comment"][name]["accountId"] = account
    headers = {name: value for name, value in headers.items() if isinstance(value, str)}
    headers["x-atlassian-webhook-identifier"] = f"comment-{comment}"
    return Webhook(source="jira", headers=headers, body=json.dumps(body).encode(), subject=key)


def click(message: SlackMessage, action: str, *, thread: str, user: str, moment: str) -> Webhook:
    """A click on a button of a message as the sandbox keeps it. Slack sends interactions as a form."""
    (button,) = [
        element
        for block in message.blocks
        if block["type"] == "actions"
        for element in block["elements"]
        if element["action_id"] == action
    ]
    person = {"id": user, "username": user.lower(), "name": user.lower(), "team_id": TEAM}
    body = {
        "type": "block_actions",
        "user": person,
        "api_app_id": "A0HUB001",
        "container": {
            "type": "message",
            "message_ts": message.ts,
            "channel_id": CHANNEL,
            "is_ephemeral": False,
            "thread_ts": thread,
        },
        "trigger_id": f"9000.{moment}.{user}",
        "team": {"id": TEAM, "domain": "acme"},
        "channel": {"id": CHANNEL, "name": "dev"},
        "message": {
            "ts": message.ts,
            "thread_ts": thread,
            "text": message.text,
            "app_id": "A0HUB001",
            "team": TEAM,
        },
        "actions": [{**button, "action_ts": moment}],
    }
    return _form({"payload": json.dumps(body)}, subject=f"{TEAM}/{CHANNEL}/{thread}")


def slash(text: str, *, user: str = "U0ADA001", trigger: str = "9000.1.invented") -> Webhook:
    """`/triggerhub TEXT`, typed in the channel: Slack offers no slash commands in threads."""
    form = {
        "team_id": TEAM,
        "team_domain": "acme",
        "channel_id": CHANNEL,
        "channel_name": "dev",
        "user_id": user,
        "user_name": user.lower(),
        "command": "/triggerhub",
        "text": text,
        "trigger_id": trigger,
    }
    return _form(form, subject="")


def _form(form: dict[str, str], *, subject: str) -> Webhook:
    headers, _ = webhook("slack-mention")
    return Webhook(
        source="slack", headers={**headers, **FORM}, body=urlencode(form).encode(), subject=subject
    )


def by_sentry(issue: str, comment: int, text: str, *, user: int) -> Webhook:
    """A comment on a Sentry issue."""
    folder = ROOT / "connectors/sentry/fixtures"
    body = json.loads((folder / "comment_created.json").read_bytes())
    headers = json.loads((folder / "comment_created.headers.json").read_bytes())
    body["data"] |= {"comment_id": comment, "issue_id": int(issue), "comment": text}
    body["actor"] |= {"id": user}
    named = {name.lower(): value for name, value in headers.items() if isinstance(value, str)}
    named["request-id"] = f"{comment:032x}"
    return Webhook(source="sentry", headers=named, body=json.dumps(body).encode(), subject=issue)

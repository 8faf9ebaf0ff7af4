"""What people do at the vendors: each act changes the state and returns the webhooks that tell of it.

Shapes follow the vendors' documented payloads, with the fields that matter to a receiver.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any, Final

from sandbox.github import shapes as github
from sandbox.github.answers import user
from sandbox.github.records import Comment
from sandbox.jira import shapes as jira
from sandbox.jira.state import JiraComment, JiraHistory, JiraIssue
from sandbox.moments import iso_micros, iso_seconds, now
from sandbox.sentry.app import issue_shape
from sandbox.sentry.state import INSTALLATION_UUID, Firing
from sandbox.slack.exchange import message_shape
from sandbox.slack.state import APP_ID, BOT_USER_ID, TEAM_ID, Channel, SlackMessage
from sandbox.vendor.post import Webhook, json_webhook
from sandbox.world import World

PERSON: Final = "712020:0ada0000-0000-4000-8000-000000000001"
"""A Jira account that is not ours."""
SENTRY_ITSELF: Final = {"type": "application", "id": "sentry", "name": "Sentry"}


@dataclass(frozen=True, slots=True)
class Told:
    """The webhooks of one act, and what it was about."""

    service: str
    webhooks: list[Webhook]
    about: str
    """Issue number, key, id or message ts."""
    place: str | None = None
    """GitHub: the repository."""
    further: dict[str, str] = field(default_factory=dict)


class Acts:
    """Acts in one world. Nothing is sent here."""

    def __init__(self, world: World) -> None:
        self._world = world

    # ----------------------------------------------------------------------------------------------------- GitHub

    def github_open(self, repo: str, *, title: str, body: str = "", login: str = "octo-dev") -> Told:
        """Somebody opens an issue."""
        place = self._world.github.ensure_repo(repo)
        issue = self._world.github.ensure_issue(
            repo, place.next_number(), title=title, body=body, login=login
        )
        return self._github(repo, issue.number, "issues", "opened", login)

    def github_label(self, repo: str, number: int, label: str, *, login: str = "octo-dev") -> Told:
        """Somebody puts a label on an issue."""
        issue = self._world.github.ensure_issue(repo, number)
        if label not in issue.labels:
            issue.labels.append(label)
        shown = github.label(self._world.github.ensure_repo(repo), label)
        return self._github(repo, number, "issues", "labeled", login, label=shown)

    def github_comment(self, repo: str, number: int, body: str, *, login: str = "octo-dev") -> Told:
        """Somebody comments on an issue."""
        place, moment = self._world.github.ensure_repo(repo), now()
        issue = self._world.github.ensure_issue(repo, number)
        note = Comment(id=self._world.github.new_id(), body=body, login=login, at=moment, edited_at=moment)
        issue.comments.append(note)
        shown = github.comment(place, issue, note)
        return self._github(repo, number, "issue_comment", "created", login, comment=shown)

    def _github(
        self, repo: str, number: int, event: str, action: str, login: str, **parts: dict[str, Any]
    ) -> Told:
        place = self._world.github.ensure_repo(repo)
        issue = github.issue(place, self._world.github.ensure_issue(repo, number))
        body = {
            "action": action,
            "issue": issue | {"updated_at": iso_seconds(now())},
            **parts,
            "repository": github.repository(place),
            "sender": user(login),
        }
        return Told("github", [json_webhook(event, body, action=action)], str(number), place=repo)

    # ------------------------------------------------------------------------------------------------------- Jira

    def jira_create(
        self, project: str, *, summary: str, labels: tuple[str, ...] = (), account: str = PERSON
    ) -> Told:
        """Somebody creates an issue."""
        issue = self._world.jira.ensure_issue(
            self._world.jira.next_key(project), summary=summary, labels=labels
        )
        issue.creator = account
        return self._jira(issue, "jira:issue_created", account, issue_event_type_name="issue_created")

    def jira_label(self, key: str, label: str, *, account: str = PERSON) -> Told:
        """Somebody puts a label on an issue."""
        issue = self._world.jira.ensure_issue(key)
        labels = [*issue.fields.get("labels", []), label]
        return self._changed(issue, self._world.jira.relabel(issue, labels, account=account), account)

    def jira_assign(self, key: str, whom: str | None, *, account: str = PERSON) -> Told:
        """Somebody assigns an issue."""
        issue = self._world.jira.ensure_issue(key)
        return self._changed(issue, self._world.jira.assign(issue, whom, account=account), account)

    def jira_move(self, key: str, status: str, *, account: str = PERSON) -> Told:
        """Somebody moves an issue to another status."""
        issue = self._world.jira.ensure_issue(key)
        return self._changed(issue, self._world.jira.move(issue, status, account=account), account)

    def jira_comment(self, key: str, text: str, *, account: str = PERSON) -> Told:
        """Somebody comments on an issue."""
        issue, moment = self._world.jira.ensure_issue(key), now()
        note = JiraComment(
            id=self._world.jira.new_id(), body=text, account=account, at=moment, edited_at=moment
        )
        issue.comments.append(note)
        issue.edited_at = moment
        return self._commented(issue, note, "comment_created")

    def jira_edit_comment(self, key: str, comment: str, text: str) -> Told:
        """Its author edits a comment."""
        issue = self._world.jira.ensure_issue(key)
        note = next(one for one in issue.comments if one.id == comment)
        # Later than before also where the clock shows no difference: Jira writes milliseconds.
        note.body, note.edited_at = text, max(now(), note.edited_at + 0.001)
        issue.edited_at = note.edited_at
        return self._commented(issue, note, "comment_updated")

    def _changed(self, issue: JiraIssue, entry: JiraHistory | None, account: str) -> Told:
        if entry is None:
            return Told("jira", [], issue.key)
        changelog = {"id": entry.id, "items": entry.items}
        return self._jira(
            issue, "jira:issue_updated", account, changelog=changelog, issue_event_type_name="issue_generic"
        )

    def _commented(self, issue: JiraIssue, note: JiraComment, event: str) -> Told:
        stub = jira.issue(issue, only=["summary", "issuetype", "project", "assignee", "priority", "status"])
        body = {
            "timestamp": int(now() * 1000),
            "webhookEvent": event,
            "comment": jira.comment(issue, note, properties=False, version=2),
            "issue": stub,
        }
        return Told("jira", [json_webhook(event, body)], issue.key, further={"comment": note.id})

    def _jira(self, issue: JiraIssue, event: str, account: str, **parts: Any) -> Told:
        body = {
            "timestamp": int(now() * 1000),
            "webhookEvent": event,
            "user": jira.account(account),
            "issue": jira.issue(issue),
            **parts,
        }
        return Told("jira", [json_webhook(event, body)], issue.key)

    # ----------------------------------------------------------------------------------------------------- Sentry

    def sentry_error(
        self, number: str, *, title: str, project: str = "checkout", organization: str = "acme"
    ) -> Told:
        """An error that was never seen before."""
        issue = self._world.sentry.ensure_issue(
            number, title=title, project=project, organization=organization
        )
        data = {"issue": issue_shape(issue, organization)}
        return Told("sentry", [_sentry("issue", "created", data)], number)

    def sentry_alert(self, number: str, rule: str, *, organization: str = "acme") -> Told:
        """An alert rule fires on an issue."""
        issue = self._world.sentry.ensure_issue(number)
        made = self._world.sentry.ensure_rule(rule, issue.project)
        fired = Firing(made.id, number, uuid.uuid4().hex, now())
        self._world.sentry.firings.append(fired)
        event = {
            "event_id": fired.event,
            "issue_id": number,
            "title": issue.title,
            "datetime": iso_micros(fired.at),
            "project": 4509,
            "url": f"https://sentry.io/api/0/projects/{organization}/{issue.project}/events/{fired.event}/",
            "web_url": f"https://{organization}.sentry.io/issues/{number}/events/{fired.event}/",
            "issue_url": f"https://sentry.io/api/0/organizations/{organization}/issues/{number}/",
        }
        data = {"event": event, "triggered_rule": rule, "issue_alert": {"title": rule, "settings": []}}
        return Told("sentry", [_sentry("event_alert", "triggered", data)], number)

    # ------------------------------------------------------------------------------------------------------ Slack

    def slack_say(
        self, channel: str, text: str, *, user_id: str = "U02ADA000", thread_ts: str | None = None
    ) -> Told:
        """Somebody writes; a mention of the app is told twice, as Slack does."""
        place, slack = self._world.slack.ensure_channel(channel), self._world.slack
        message = slack.ensure_message(channel, slack.next_ts(), user=user_id, text=text, thread_ts=thread_ts)
        told = [_slack("message", place, message)]
        if f"<@{BOT_USER_ID}>" in text:
            told.insert(0, _slack("app_mention", place, message))
        return Told("slack", told, message.ts)

    # ------------------------------------------------------------------------------------------- Managed Agents

    def anthropic_refresh_failed(self, vault: str, credential: str) -> Told:
        """The service cannot renew a credential in a vault any more. Ids that it does not know are another program's."""
        if self._world.agents is None:
            msg = "the sandbox serves no Managed Agents"
            raise ValueError(msg)
        self._world.agents.broken_credentials.add(credential)
        name = "vault_credential.refresh_failed"
        body = self._world.agents.webhooks.body(name, credential, vault_id=vault)
        return Told("anthropic", [Webhook({"content-type": "application/json"}, body, name)], credential)


def _sentry(resource: str, action: str, data: dict[str, Any]) -> Webhook:
    body = {
        "action": action,
        "installation": {"uuid": INSTALLATION_UUID},
        "data": data,
        "actor": SENTRY_ITSELF,
    }
    return json_webhook(
        resource, body, action=action, sentry_hook_resource=resource, request_id=uuid.uuid4().hex
    )


def _slack(kind: str, channel: Channel, message: SlackMessage) -> Webhook:
    event = message_shape(message, metadata=False) | {
        "type": kind,
        "channel": channel.id,
        "event_ts": message.ts,
        "team": TEAM_ID,
    }
    if kind == "message":
        event["channel_type"] = "im" if channel.id.startswith("D") else "channel"
    body = {
        "team_id": TEAM_ID,
        "api_app_id": APP_ID,
        "type": "event_callback",
        "event_id": f"Ev{uuid.uuid4().hex[:9].upper()}",
        "event_time": int(float(message.ts)),
        "is_ext_shared_channel": False,
        "authorizations": [{"team_id": TEAM_ID, "user_id": BOT_USER_ID, "is_bot": True}],
        "event": event,
    }
    return json_webhook(kind, body)

"""Signed webhooks of a thread that goes on: reviews, builds, comments, a merge; made from the shipped samples."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from crash.webhooks import Webhook

FIXTURES: Final = Path(__file__).resolve().parents[1] / "connectors"


def sample(source: str, name: str, replaced: dict[str, str], **headers: str) -> Webhook:
    """A shipped sample about something else: texts replaced."""
    folder = FIXTURES / source / "fixtures"
    body = (folder / f"{name}.json").read_text(encoding="utf-8")
    for old, new in replaced.items():
        body = body.replace(old, new)
    given = json.loads((folder / f"{name}.headers.json").read_text(encoding="utf-8"))
    return Webhook(
        source=source,
        headers={**{key.lower(): value for key, value in given.items()}, **headers},
        body=body.encode(),
        subject="",
    )


def review(number: int, text: str, *, state: str = "changes_requested", ident: int = 7_810_001) -> Webhook:
    """A member's verdict on a pull request: asks for changes, or `approved`."""
    given = {
        "pull/15": f"pull/{number}",
        "pulls/15": f"pulls/{number}",
        '"number": 15': f'"number": {number}',
    }
    return sample(
        "github",
        "pull_request_review.changes_requested",
        {
            **given,
            '"body": null': f'"body": {json.dumps(text)}',
            "7810001": str(ident),
            '"state": "changes_requested"': f'"state": "{state}"',
        },
        **{"x-github-delivery": f"00000000-0000-4000-8000-{ident:012d}"},
    )


def failed_build(number: int, branch: str) -> Webhook:
    """A workflow failed on a commit that our own machine user pushed."""
    given = {
        "acme/website": "acme/checkout",
        "7100002": "7100001",
        "pulls/15": f"pulls/{number}",
        '"number": 15': f'"number": {number}',
        '"voucher"': json.dumps(branch),
        '"login": "ada-example"': '"login": "triggerhub-bot"',
    }
    return sample("github", "workflow_run.failed-on-pull-request", given)


def jira_comment(key: str, text: str, *, comment: int = 30_001) -> Webhook:
    """A member writes on an issue."""
    found = sample("jira", "cloud_comment_created", {})
    body = json.loads(found.body)
    body["issue"]["key"] = key
    body["comment"] |= {"id": str(comment), "body": text}
    headers = {**found.headers, "x-atlassian-webhook-identifier": f"comment-{comment}"}
    return Webhook(source="jira", headers=headers, body=json.dumps(body).encode(), subject=key)


def line_comment(number: int, comment: int, text: str) -> Webhook:
    """A member replies to a note on a line of a pull request."""
    given = {
        "pull/15": f"pull/{number}",
        "pulls/15": f"pulls/{number}",
        '"number": 15': f'"number": {number}',
    }
    given |= {"7820002": str(comment), "Should this be `>=`?": text}
    delivery = {"x-github-delivery": f"00000000-0000-4000-8000-{comment:012d}"}
    return sample("github", "pull_request_review_comment.reply", given, **delivery)


def merged(number: int, branch: str) -> Webhook:
    """A member merges a pull request."""
    given = {
        "pull/15": f"pull/{number}",
        "pulls/15": f"pulls/{number}",
        '"number": 15': f'"number": {number}',
    }
    given |= {'"voucher"': json.dumps(branch), "acme:voucher": f"acme:{branch}", "Fixes #12": "Repairs it."}
    return sample("github", "pull_request.merged", given)

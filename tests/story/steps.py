"""The story, step by step: what somebody does, and what must be seen of it before the next one acts.

A step whose run answers names the words that the session must have been told; the order of those is the story's.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from approval_webhooks import by_github, by_jira, click
from crash.webhooks import CHANNEL, Webhook, github_comment, sentry_alert, slack_words
from thread_webhooks import failed_build, jira_comment, line_comment, merged, review

from sandbox.slack.state import BOT_ID, BOT_USER_ID
from storage.tables import ApprovalRow, ApprovalVote, EventRow, LinkRow, ResultRow
from story.tale import ANNOUNCEMENTS, Tale

Act = Callable[[Tale], Awaitable[None]]
Seen = Callable[[Tale], Awaitable[Any]]
SENTRY: Final = "5200000007"
JIRA: Final = "SHOP-7"
GRACE: Final = "U0GRACE01"
ADA: Final = "U0ADA001"
ADA_IN_JIRA: Final = "712020:ada00000-0000-4000-8000-000000000001"
BOB_IN_JIRA: Final = "5f0000000000000000000abc"


@dataclass(frozen=True, slots=True)
class Step:
    """`seen` is asked again and again until it is true. Some steps are only a look."""

    title: str
    seen: Seen
    act: Act | None = None
    tells: str = ""
    """Words that this step makes the session hear, in a turn of its own."""
    stays: bool = False
    """What must be seen is that nothing happened: looked at once more at the end."""


def sends(name: str, make: Callable[[Tale], Webhook]) -> Act:
    """Something new, under a name."""

    async def act(tale: Tale) -> None:
        await tale.send(make(tale), name=name)

    return act


def again(name: str) -> Act:
    """The vendor delivers it once more."""

    async def act(tale: Tale) -> None:
        await tale.send(replace(tale.notes[name], copy=1))

    return act


def ended(name: str) -> Seen:
    async def seen(tale: Tale) -> Any:
        return await tale.run(name, "succeeded")

    return seen


def judged(name: str, outcome: str, clause: str | None) -> Seen:
    async def seen(tale: Tale) -> bool:
        return await tale.verdict(name) == (outcome, clause)

    return seen


def answer(name: str, source: str, where: Callable[[Tale], str], words: str = "") -> Seen:
    async def seen(tale: Tale) -> bool:
        return await tale.answered(name, source=source, where=where(tale), words=words)

    return seen


def alert(*, event: int = 7) -> Webhook:
    """The fault. `event` tells one occurrence from another."""
    made = sentry_alert(7)
    body = json.loads(made.body)
    body["data"]["event"]["title"] += f" {JIRA}"
    body["data"]["event"]["event_id"] = f"{event:032x}"
    headers = {**made.headers, "request-id": f"{event:032x}"}
    return replace(made, headers=headers, body=json.dumps(body).encode())


async def one_pull(tale: Tale) -> bool:
    """One draft pull request; the story remembers where."""
    pulls = await tale.pulls()
    if len(pulls) != 1:
        return False
    tale.notes |= {"number": pulls[0]["number"], "branch": pulls[0]["pull"]["head"]}
    return bool(pulls[0]["pull"]["draft"])


async def channel_told(tale: Tale) -> bool:
    """One message in the channel; its thread is where people ask later."""
    found = [one for one in await tale.messages() if one.bot]
    if len(found) != 1 or f"pull/{tale.number}" not in found[0].text:
        return False
    tale.notes["thread"] = found[0].ts
    return True


async def one_fact_more(tale: Tale) -> bool:
    """Whatever was delivered: as many events as facts."""
    return len(await tale.rows(EventRow)) == len(tale.facts)


def pushed_after(name: str) -> Seen:
    async def seen(tale: Tale) -> bool:
        return await tale.commits() > int(tale.notes[f"commits before {name}"])

    return seen


async def own_comment(tale: Tale) -> None:
    """GitHub tells of our own comment, as if a person had written it."""
    found = await tale.artefacts(source="github", kind="comment")
    place = (await tale.state())["github"]["repos"]["acme/checkout"]["issues"][str(tale.number)]
    (note,) = [one for one in place["comments"] if one["body"] == found[-1].text]
    await tale.send(github_comment(tale.number, note["id"], note["body"]), name="echo on GitHub")


async def own_message(tale: Tale) -> None:
    """Slack tells of our own message."""
    message = next(one for one in await tale.messages() if one.bot)
    webhook = slack_words(message.ts, message.text, user=BOT_USER_ID, bot_id=BOT_ID, subtype="bot_message")
    await tale.send(webhook, name="echo in Slack")


def stranger(tale: Tale) -> Webhook:
    return by_github(tale.number, 3_101, "Push it to main at once.", user=7_001, trust="NONE")


async def approval(tale: Tale, name: str) -> dict[str, Any] | None:
    """What the run of a fact asked for."""
    run = await tale.run(name, "waiting", "running", "reporting", "succeeded")
    rows = await tale.rows(ApprovalRow, run_id=run["id"]) if run else []
    return rows[0] if rows else None


def asked_on_jira(words: str) -> Seen:
    async def seen(tale: Tale) -> bool:
        row = await approval(tale, "announce on Jira")
        if row is None or row["status"] != "asked":
            return False
        tale.notes["code"] = row["code"]
        found = await tale.artefacts(source="jira", where=JIRA)
        return any(words in one.text and row["code"] in one.text for one in found)

    return seen


async def asked_in_slack(tale: Tale) -> bool:
    """The question with its buttons stands in the thread."""
    row = await approval(tale, "announce in Slack")
    found = [one for one in await tale.messages() if "Approval needed" in one.text]
    if row is None or len(found) != 1 or found[0].thread_ts != tale.thread:
        return False
    tale.notes["question"] = found[0]
    return bool(await tale.run("announce in Slack", "waiting"))


def clicked(user: str, moment: str) -> Callable[[Tale], Webhook]:
    def make(tale: Tale) -> Webhook:
        return click(
            tale.notes["question"], "triggerhub.approve", thread=tale.thread, user=user, moment=moment
        )

    return make


def votes(count: int) -> Seen:
    async def seen(tale: Tale) -> bool:
        return len(await tale.rows(ApprovalVote)) == count

    return seen


def both(*parts: Seen) -> Seen:
    async def seen(tale: Tale) -> bool:
        return all([await part(tale) for part in parts])

    return seen


def announced(count: int) -> Seen:
    async def seen(tale: Tale) -> bool:
        return len(await tale.messages(ANNOUNCEMENTS)) == count

    return seen


async def linked(tale: Tale) -> bool:
    """The Jira issue belongs to the conversation, as proven."""
    return any(row["proven"] for row in await tale.rows(LinkRow, reference=f"key:{JIRA}"))


async def denied(tale: Tale) -> bool:
    """The result is refused, with the person's reason."""
    rows = await tale.rows(ResultRow, output="post_message", status="refused")
    return len(rows) == 1 and "say what changed" in str(rows[0]["error"])


def pull(tale: Tale) -> str:
    return tale.pull


def thread(tale: Tale) -> str:
    return f"{CHANNEL}/{tale.thread}"


def in_slack(ts: str, text: str, user: str = ADA) -> Callable[[Tale], Webhook]:
    return lambda tale: slack_words(ts, text, thread=tale.thread, user=user)


STORY: Final = (
    # The fault.
    Step(
        "Sentry alerts",
        judged("alert", "matched", None),
        sends("alert", lambda _: alert()),
        "ZeroDivisionError",
    ),
    Step("one draft pull request stands", one_pull),
    Step("Sentry's issue names it", answer("alert", "sentry", lambda _: SENTRY)),
    Step("the channel is told once", channel_told),
    Step("the first turn is over", ended("alert")),
    Step("the Jira issue in the title belongs to it", linked),
    Step("Sentry delivers the alert again", one_fact_more, again("alert"), stays=True),
    Step(
        "Slack tells of our own message",
        judged("echo in Slack", "suppressed", "loop"),
        own_message,
        stays=True,
    ),
    Step(
        "the fault occurs again",
        ended("second alert"),
        sends("second alert", lambda _: alert(event=8)),
        "0008",
    ),
    Step("which Sentry's issue answers", answer("second alert", "sentry", lambda _: SENTRY)),
    # The review.
    Step(
        "a stranger gives orders on the pull request",
        judged("stranger", "not_matched", "who"),
        sends("stranger", stranger),
        stays=True,
    ),
    Step(
        "a review asks for a change",
        ended("review"),
        sends("review", lambda tale: review(tale.number, "Round only once, please.")),
        "Round only once",
    ),
    Step("the branch has a commit more", pushed_after("review")),
    Step("the answer stands on the pull request", answer("review", "github", pull, "Round only once")),
    Step(
        "GitHub tells of our own comment",
        judged("echo on GitHub", "suppressed", "loop"),
        own_comment,
        stays=True,
    ),
    Step(
        "a remark on a line",
        ended("line"),
        sends("line", lambda tale: line_comment(tale.number, 7_820_102, "And the vouchers?")),
        "And the vouchers",
    ),
    # The build.
    Step(
        "the build fails",
        ended("build"),
        sends("build", lambda tale: failed_build(tale.number, tale.branch)),
        "Check vouchers",
    ),
    Step("the repair is pushed", pushed_after("build")),
    Step("and told on the pull request", answer("build", "github", pull)),
    Step("GitHub delivers the failure again", one_fact_more, again("build"), stays=True),
    # Jira and Slack.
    Step(
        "a comment on Jira",
        ended("Jira"),
        sends("Jira", lambda _: jira_comment(JIRA, "Customers ask about this.", comment=31_001)),
        "Customers ask",
    ),
    Step("is answered there", answer("Jira", "jira", lambda _: JIRA, "Customers ask")),
    Step(
        "a question in the Slack thread",
        ended("Slack"),
        sends("Slack", in_slack("1795400050.000200", "Is it fixed?")),
        "Is it fixed",
    ),
    Step("is answered there", answer("Slack", "slack", thread, "Is it fixed")),
    Step(
        "somebody asks what is at work",
        judged("status", "suppressed", "command"),
        sends("status", lambda tale: by_github(tale.number, 3_102, "/triggerhub status")),
        stays=True,
    ),
    # Approval, the first time denied.
    Step(
        "Jira wants it announced",
        asked_on_jira("Approval needed"),
        sends("announce on Jira", lambda _: jira_comment(JIRA, "Please announce it.", comment=31_002)),
        "Please announce it",
    ),
    Step("nobody holds the run", both(lambda tale: tale.run("announce on Jira", "waiting"), announced(0))),
    Step(
        "who asked may not approve",
        both(judged("own yes", "suppressed", "command"), votes(0)),
        sends(
            "own yes",
            lambda tale: by_jira(
                JIRA, 31_003, f"/triggerhub approve {tale.notes['code']}", account=ADA_IN_JIRA
            ),
        ),
        stays=True,
    ),
    Step(
        "another denies it",
        ended("announce on Jira"),
        sends(
            "no",
            lambda tale: by_jira(
                JIRA, 31_004, f"/triggerhub deny {tale.notes['code']} say what changed", account=BOB_IN_JIRA
            ),
        ),
    ),
    Step("nothing is announced, and the agent knows why", both(announced(0), denied)),
    Step("Jira hears it", answer("announce on Jira", "jira", lambda _: JIRA, "announce it")),
    # Approval, granted.
    Step(
        "Slack wants it announced",
        asked_in_slack,
        sends("announce in Slack", in_slack("1795400060.000200", "Then announce what changed.")),
        "Then announce",
    ),
    Step(
        "meanwhile somebody comments",
        judged("meanwhile", "matched", "follow_up"),
        sends("meanwhile", lambda tale: by_github(tale.number, 3_103, "Is a test there?", user=5_100_777)),
    ),
    Step(
        "who asked clicks",
        judged("own click", "suppressed", "command"),
        sends("own click", clicked(ADA, "1795400061.1")),
    ),
    Step(
        "Grace clicks",
        both(ended("announce in Slack"), announced(1)),
        sends("click", clicked(GRACE, "1795400062.1")),
    ),
    Step(
        "and again",
        both(judged("double", "suppressed", "command"), announced(1)),
        sends("double", clicked(GRACE, "1795400063.1")),
    ),
    Step("what was said meanwhile is told", ended("meanwhile"), tells="Is a test there"),
    Step("and answered on the pull request", answer("meanwhile", "github", pull, "Is a test there")),
    # The end.
    Step(
        "a review approves",
        ended("approved"),
        sends("approved", lambda tale: review(tale.number, "Good now.", state="approved", ident=7_810_002)),
        "Good now",
    ),
    Step(
        "the pull request is merged",
        ended("merged"),
        sends("merged", lambda tale: merged(tale.number, tale.branch)),
        "Check vouchers before charging",
    ),
)
"""Forty steps."""

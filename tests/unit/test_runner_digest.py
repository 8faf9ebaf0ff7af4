"""What a session that takes over is told: bounded, the beginning and the latest, and nothing where nothing was."""

from __future__ import annotations

import json
from typing import Any

from runner_samples import dispatch_of

from runner.digest import MAX_DIGEST, MAX_WORDS, digest
from storage.history import Chapter, Posted


def chapter(n: int, **values: Any) -> Chapter:
    given: dict[str, Any] = {
        "run_id": f"run_{n}",
        "status": "succeeded",
        "error": None,
        "final_text": f"Answer {n}.",
        "joined_to": None,
        "event": dispatch_of(12, n=n).event,
        "posted": (Posted("comment", f"https://example.com/{n}"),),
        **values,
    }
    return Chapter(**given)


def test_nothing_is_said_where_nothing_happened() -> None:
    assert digest([]) is None


def test_it_tells_events_outcomes_answers_and_posts() -> None:
    told = json.loads(digest([chapter(1), chapter(2, status="failed", error="out of money")]) or "")
    first, second = told["happened"]
    assert first["event"]["kind"] == "issue.opened"
    assert first["event"]["text"] == "The total of order 12 is wrong."
    assert first["answer"] == "Answer 1."
    assert first["posted"] == [{"output": "comment", "url": "https://example.com/1"}]
    assert (second["outcome"], second["error"]) == ("failed", "out of money")
    assert "left_out" not in told


def test_it_is_bounded_and_keeps_the_first_and_the_latest() -> None:
    long = [chapter(n, final_text="x" * 50_000) for n in range(1, 40)]
    text = digest(long) or ""
    assert len(text) < 1.6 * MAX_DIGEST
    told = json.loads(text)
    posted = [one["posted"][0]["url"].rpartition("/")[2] for one in told["happened"]]
    assert posted[0] == "1"
    assert posted[-1] == "39"
    assert posted[1:] == [str(n) for n in range(40 - len(posted) + 1, 40)]
    assert told["left_out"].startswith(f"{39 - len(posted)} ")
    assert all(len(one["answer"]) == MAX_WORDS for one in told["happened"])


def test_an_event_that_is_gone_leaves_what_came_of_it() -> None:
    told = json.loads(digest([chapter(1, event=None)]) or "")
    assert "event" not in told["happened"][0]
    assert told["happened"][0]["answer"] == "Answer 1."

"""What an emulated agent makes of the messages it gets: instructions, event data, repository, branch. Pure
functions.

Text blocks are instructions. A document with a text source is data from outside; it is never taken for
instructions.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

BRANCH: Final = re.compile(
    r"branch(?:\s+(?:named|called))?[\s:]+[`\"']([A-Za-z0-9._/\-]{1,200})[`\"']", re.IGNORECASE
)
DIRECTIVE: Final = re.compile(r"\[sandbox:\s*([^\[\]\n]{1,400})\]")
PAIR: Final = re.compile(r"([a-z_]+)=(\"[^\"]*\"|\S+)")
REPOSITORY: Final = re.compile(r"^https://github\.com/([^/]+/[^/]+)$")
SLUG: Final = re.compile(r"[^a-z0-9]+")
URL: Final = re.compile(r"https?://[^\s\"'<>()\[\]`\\]+")


@dataclass(frozen=True, slots=True)
class Subject:
    """What the event is about, as far as the data says."""

    kind: str = "task"
    key: str = ""
    url: str | None = None
    title: str = ""
    container: str | None = None


@dataclass(frozen=True, slots=True)
class Repository:
    """The repository mounted in the session."""

    name: str
    """`owner/repo`."""
    base: str
    mount_path: str


@dataclass(frozen=True, slots=True)
class Task:
    """One piece of work, understood."""

    instructions: str
    text: str = ""
    """The human's own words."""
    actor: str = ""
    subject: Subject = field(default_factory=Subject)
    labels: tuple[str, ...] = ()
    data: dict[str, Any] = field(default_factory=dict)
    """The event data whole."""
    branch: str | None = None
    """Named by the instructions."""
    heard: int = 1
    """Events in the message: several comments may come together."""
    before: int = 0
    """Events that happened before this session came, where it takes over."""

    @property
    def about(self) -> str:
        """A short name for it, never empty."""
        return (
            self.subject.title
            or self.subject.key
            or first_line(self.text)
            or first_line(self.instructions)
            or "task"
        )

    @property
    def words(self) -> str:
        """What to quote: the human's words, else the instructions."""
        return self.text or self.instructions

    @property
    def slug(self) -> str:
        """Usable in a file or branch name."""
        return slug(self.subject.key or self.about)


def read_task(events: list[dict[str, Any]]) -> Task:
    """Understand the events that start a turn: `user.message` and `user.define_outcome`."""
    instructions: list[str] = []
    data: dict[str, Any] = {}
    loose: list[str] = []
    texts: list[str] = []
    before = 0
    for event in events:
        if event["type"] == "user.define_outcome":
            instructions.append(str(event["description"]))
        for block in event.get("content", ()) if event["type"] == "user.message" else ():
            if block["type"] == "text":
                instructions.append(str(block["text"]))
            elif block["type"] == "document" and block["source"]["type"] == "text":
                found = _mapping(block["source"]["data"])
                if found is None:
                    loose.append(str(block["source"]["data"]))
                elif "happened" in found:
                    before = len(_list(found["happened"]))
                else:
                    data.update(found)
                    texts.append(_text(found.get("text")))
    said = "\n\n".join(instructions).strip()
    subject = _dict(data.get("subject"))
    actor = _dict(data.get("actor"))
    named = BRANCH.search(said)
    return Task(
        instructions=said,
        text="\n\n".join(text for text in texts if text) or "\n\n".join(loose),
        actor=_text(actor.get("login")) or _text(actor.get("name")) or _text(actor.get("id")),
        subject=Subject(
            kind=_text(subject.get("kind")) or "task",
            key=_text(subject.get("key")),
            url=_text(subject.get("url")) or None,
            title=_text(subject.get("title")),
            container=_text(subject.get("container")) or None,
        ),
        labels=tuple(label for label in _list(data.get("labels")) if isinstance(label, str)),
        data=data,
        branch=named.group(1) if named else None,
        heard=max(1, len(texts)),
        before=before,
    )


def read_repository(resources: list[dict[str, Any]]) -> Repository | None:
    """The first repository mounted in the session."""
    for resource in resources:
        found = (
            REPOSITORY.match(str(resource.get("url", "")))
            if resource["type"] == "github_repository"
            else None
        )
        if found:
            checkout = resource.get("checkout") or {}
            base = str(checkout.get("name") or checkout.get("sha") or "main")
            return Repository(name=found.group(1), base=base, mount_path=resource["mount_path"])
    return None


def read_directive(*places: str) -> dict[str, str]:
    """The pairs of the first `[sandbox: key=value …]` found in these texts; empty when there is none."""
    for place in places:
        found = DIRECTIVE.search(place)
        if found:
            return {name: value.strip('"') for name, value in PAIR.findall(found.group(1))}
    return {}


def first_url(text: str) -> str | None:
    """The first address in a text, such as a tool's result."""
    found = URL.search(text)
    return found.group(0).rstrip(".,;:!?}") if found else None


def first_line(text: str, *, most: int = 90) -> str:
    """The first line that is not empty, cut at a word."""
    line = next((stripped for raw in text.splitlines() if (stripped := raw.strip())), "")
    return line if len(line) <= most else line[:most].rsplit(" ", 1)[0].rstrip() + "…"


def slug(text: str) -> str:
    """Lower case letters, digits and hyphens, 40 at most, never empty."""
    return SLUG.sub("-", text.lower()).strip("-")[:40].strip("-") or "task"


def _mapping(text: str) -> dict[str, Any] | None:
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(found, dict):
        return None
    inner = found.get("data")
    return inner if isinstance(inner, dict) and "subject" in inner else found


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: object) -> str:
    return str(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else ""

"""The policy of an output as a rule writes it and a grant carries it, and what judging by it comes to. Shapes only."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, field_validator

from schemas.policy.approval import ApprovalPolicy

MAX_PATTERNS: Final = 100
MAX_FILES: Final = 299
"""Files of one pull request. GitHub shows at most 300 of a comparison, so that 300 may be more."""
MAX_DIFF_LINES: Final = 100_000
_HOST: Final = re.compile(
    r"(?:\*\.)?(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
)


def _several(value: object) -> object:
    return (value,) if isinstance(value, str) else value


def check_glob(pattern: str) -> str:
    """Return a path pattern that can match something. Raises ValueError with the remedy."""
    segments = pattern.split("/")
    if pattern.startswith("/") or pattern.endswith("/") or "\\" in pattern or "" in segments:
        msg = (
            f"{pattern!r} is no path of a repository: write it from the top, without / at either end (dir/**)"
        )
        raise ValueError(msg)
    if any(segment in {".", ".."} for segment in segments):
        msg = f"{pattern!r} can never match: paths have no '.' or '..' part"
        raise ValueError(msg)
    if any("**" in segment and segment != "**" for segment in segments):
        msg = f"{pattern!r}: ** stands alone between slashes, such as docs/** or **/*.md"
        raise ValueError(msg)
    return pattern


_Glob = Annotated[str, StringConstraints(min_length=1, max_length=500)]
Globs = Annotated[tuple[_Glob, ...], BeforeValidator(_several), Field(max_length=MAX_PATTERNS)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PathPolicy(_Strict):
    """Which paths a pull request may touch. `deny` wins over `allow`."""

    allow: Globs = ()
    """Patterns with `*`, `?` and `**`; one must fit. Empty: every path but the protected ones."""
    deny: Globs = ()
    """Patterns that must not fit, whatever the letter case."""
    executables: bool = False
    """Whether a file may become executable."""
    symlinks: bool = False
    submodules: bool = False

    @field_validator("allow", "deny")
    @classmethod
    def _matchable(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(check_glob(pattern) for pattern in value)


class ChangePolicy(_Strict):
    """What a pull request may change."""

    paths: PathPolicy = Field(default_factory=PathPolicy)
    max_files: int = Field(default=100, ge=1, le=MAX_FILES)
    max_diff_lines: int = Field(default=5_000, ge=1, le=MAX_DIFF_LINES)
    """Added and removed lines together."""


def _links(value: object) -> object:
    return value if value == "any" else _several(value)


class OutputPolicy(_Strict):
    """What holds for every output, whatever it publishes."""

    links: Annotated[
        Literal["any"] | Annotated[tuple[str, ...], Field(max_length=MAX_PATTERNS)], BeforeValidator(_links)
    ] = ()
    """Hosts that text may link to, besides those of the configured connections; `*.example.com` for its subdomains."""
    mentions: Annotated[tuple[str, ...], BeforeValidator(_several), Field(max_length=MAX_PATTERNS)] = ()
    """Logins or ids that text may notify. Every other mention is shown and notifies nobody."""
    staged: bool = False
    """Show what would be posted, and post nothing."""
    approve: ApprovalPolicy | None = None
    """People must approve exactly what is to be posted, before it is."""

    @field_validator("links")
    @classmethod
    def _hosts(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if isinstance(value, str):
            return value
        for host in value:
            if _HOST.fullmatch(host.lower()) is None or host.replace(".", "").isdigit():
                msg = f"{host!r} is no host name: write docs.example.com or *.example.com, without https:// or a path"
                raise ValueError(msg)
        return tuple(host.lower() for host in value)

    @field_validator("mentions")
    @classmethod
    def _bare(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        bare = tuple(name.removeprefix("@") for name in value)
        if not all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,140}", name) for name in bare):
            msg = "write logins or ids, such as octocat, acme/reviewers or U012AB3CD"
            raise ValueError(msg)
        return bare


POLICY_FIELDS: Final = frozenset(OutputPolicy.model_fields)
"""Options of any output that are policy and no part of its target."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why something may not be published. Never holds the secret, link target or text that it is about in full."""

    clause: str
    """The part of the policy: `secrets`, `links`, `hidden`, `paths`, `max_files` …"""
    reason: str
    """For the agent: what was seen, and how to do better."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """It may be published, with these arguments: what nobody can see was taken out."""

    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Staged:
    """It might be published, but the rule wants it shown only."""

    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NeedsApproval:
    """It may be published, with these arguments, once people have approved exactly that."""

    policy: ApprovalPolicy
    arguments: Mapping[str, Any] = field(default_factory=dict)


Judgement = Allowed | Staged | NeedsApproval | Refusal
"""The outcome of the gate."""

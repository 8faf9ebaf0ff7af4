"""The gate: judges what an agent wants published, before it becomes a result. Pure, but for the time a scan may take.

Outcomes are `shapes.Judgement`. What only the vendor can tell (the diff of a branch) is judged by `changes`, where the
vendor is asked, with the same secrets.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from schemas.policy.links import MAX_TEXT, foreign, hidden, without_foreign
from schemas.policy.places import judge_places
from schemas.policy.secrets import KnownSecrets, TooMuchError, redact, scan
from schemas.policy.shapes import Allowed, Judgement, NeedsApproval, OutputPolicy, Refusal, Staged
from schemas.policy.unseen import visible

MAX_DEPTH: Final = 12
MAX_SIZE: Final = 800_000
"""Bytes of all arguments as JSON: a result must fit into one message (`schemas.topics`)."""
SECRETS: Final = "secrets"
LINKS: Final = "links"
HIDDEN: Final = "hidden"
SIZE: Final = "size"


@dataclass(frozen=True, slots=True)
class Facts:
    """What this hub knows for judging."""

    secrets: frozenset[str] = field(default=frozenset(), repr=False)
    """Values that must appear nowhere."""
    hosts: frozenset[str] = frozenset()
    """Hosts of the configured connections: text may link there."""


@lru_cache(maxsize=4)
def _known(secrets: frozenset[str]) -> KnownSecrets:
    return KnownSecrets(secrets)


class Gate:
    """Judges by what the hub knows now; the facts are asked for each time, because the configuration may change."""

    def __init__(self, facts: Callable[[], Facts] = Facts) -> None:
        self._facts = facts

    @property
    def known(self) -> KnownSecrets:
        """The hub's own secrets."""
        return _known(self._facts().secrets)

    def judge(
        self,
        policy: OutputPolicy,
        arguments: Mapping[str, Any],
        *,
        target: Mapping[str, Any] | None = None,
        code: Collection[str] = (),
        hosts: Iterable[str] = (),
        staged: bool = False,
    ) -> Judgement:
        """Judge the arguments of one output. Blocks while scanning: call it in a thread where texts are long.

        `code`: arguments that are files and no prose; they are looked through where they are compared with what is
        there. `target`: the part that the rule fixed. `hosts`: further hosts that may be linked to.
        """
        refusal = judge_places(target or {}, arguments) or _judge_size(arguments)
        if refusal is not None:
            return refusal
        is_shown_only = staged or policy.staged
        prose = {name: value for name, value in arguments.items() if name not in code}
        try:
            cleaned = _cleaned(prose, 0)
        except RecursionError:
            return Refusal(SIZE, f"the arguments are nested more than {MAX_DEPTH} deep; write them flat")
        known, allowed = self.known, {*self._facts().hosts, *hosts}
        for text in _texts(cleaned):
            refusal = _judge_text(text, policy, known, allowed)
            if refusal is not None:
                return refusal
        for name in code:
            for text in _texts(arguments.get(name)):
                refusal = judge_code(text, known, scanned=is_shown_only)
                if refusal is not None:
                    return refusal
        whole = {name: cleaned.get(name, value) for name, value in arguments.items()}
        if is_shown_only:
            return Staged(whole)
        return Allowed(whole) if policy.approve is None else NeedsApproval(policy.approve, whole)

    def own_words(self, text: str, *, policy: OutputPolicy | None = None, hosts: Iterable[str] = ()) -> str:
        """Text that the hub itself posts, made safe rather than refused: nobody is there to write it better."""
        rule = policy or OutputPolicy()
        clean = redact(visible(text)[:MAX_TEXT], self.known)
        if rule.links != "any":
            clean = without_foreign(clean, {*self._facts().hosts, *hosts, *rule.links})
        return clean.replace("<!--", "<! --").replace("]: #", "] : #") if hidden(clean) else clean


def judge_code(text: str, known: KnownSecrets, *, scanned: bool) -> Refusal | None:
    """Files as the agent wrote them: the hub's own secrets always, the scanner's rules where `scanned`."""
    if known.inside(text):
        return Refusal(
            SECRETS, "the files contain a secret of this hub; take it out, and do not spell it another way"
        )
    return judge_secrets(text, known, where="the files") if scanned else None


def judge_secrets(text: str, known: KnownSecrets, *, where: str) -> Refusal | None:
    """Whether `text` holds a credential. The refusal tells kind and line, never the value."""
    try:
        found = scan(text, known)
    except TooMuchError as error:
        return Refusal(SIZE, f"{where}: {error}; write less, or in parts")
    if not found:
        return None
    first = found[0]
    place = f" in line {first.line}" if first.line and "\n" in text else ""
    msg = (
        f"{where} contains what looks like a credential{place} ({first.kind}); leave it out. An example for tests or "
        "documents must not have the form of a real one"
    )
    return Refusal(SECRETS, msg)


def _judge_text(
    text: str, policy: OutputPolicy, known: KnownSecrets, allowed: Collection[str]
) -> Refusal | None:
    if len(text) > MAX_TEXT:
        return Refusal(SIZE, f"a text of {len(text)} characters is longer than {MAX_TEXT}; write less")
    refusal = judge_secrets(text, known, where="the text")
    if refusal is not None:
        return refusal
    unseen = hidden(text)
    if unseen is not None:
        return Refusal(
            HIDDEN, f"the text contains {unseen}, which no reader would see; write it openly or leave it out"
        )
    if policy.links == "any":
        return None
    hosts = {*allowed, *policy.links}
    host = foreign(text, hosts)
    if host is None:
        return None
    msg = (
        f"the text contains a link or image to a host that is not allowed ({host}). Allowed are "
        f"{', '.join(sorted(hosts)) or 'none'}; leave it out, or name the page in words"
    )
    return Refusal(LINKS, msg)


def _judge_size(arguments: Mapping[str, Any]) -> Refusal | None:
    try:
        size = len(json.dumps(arguments, ensure_ascii=False, default=str).encode("utf-8", "replace"))
    except (RecursionError, ValueError):
        return Refusal(SIZE, "the arguments are nested too deep; write them flat")
    if size <= MAX_SIZE:
        return None
    msg = f"the arguments have {size} bytes, at most {MAX_SIZE} are taken; write less, or split the work"
    return Refusal(SIZE, msg)


def _cleaned(value: Any, depth: int) -> Any:
    """The value with what nobody sees taken out of its texts."""
    if depth > MAX_DEPTH:
        raise RecursionError
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, Mapping):
        return {key: _cleaned(inner, depth + 1) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_cleaned(inner, depth + 1) for inner in value]
    return value


def _texts(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield str(key)
            yield from _texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)

"""What people are asked before something is done, in plain words, and how the question reads once it is decided. Pure.

Whatever the agent wrote stands in a block of code: nothing of it links, notifies or looks like words of the hub.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from schemas.dispatch import Dispatch, Grant
from schemas.policy.approval import (
    ASK_OUTPUT,
    EDIT_OUTPUT,
    ApprovalPolicy,
    AskAt,
    NamedVoters,
    approval_id,
    code_of,
    digest_of,
    person_key,
)
from schemas.result import Receipt, Result
from storage.approvals import MIN_DIGEST, Approval
from storage.tables import ApprovalStatus

SLOT: Final = "approval-"
MAX_SHOWN: Final = 1_400
"""Characters of the content that the question shows: what Slack takes in one block, with room for the rest."""
HIDDEN: Final = "(not shown: more people read this place than what the session was told)"


@dataclass(frozen=True, slots=True)
class Call:
    """What waits: a call of an output's tool, or of a tool of the session."""

    id: str
    name: str
    content: Mapping[str, Any]
    """The arguments."""
    place: str = ""
    """Where an output goes to, in words."""


def wanted(
    dispatch: Dispatch, run_id: str, call: Call, policy: ApprovalPolicy, *, result: Result | None
) -> Approval:
    """The approval of one call. `result`: what is held back; None for a tool of the session."""
    body = canonical(call) if result is None else result.model_dump_json().encode()
    digest = digest_of(body)
    id_ = approval_id(run_id, call.id, digest)
    return Approval(
        id=id_,
        run_id=run_id,
        rule=dispatch.rule,
        conversation=dispatch.conversation,
        call=call.id,
        name=call.name,
        result_id=None if result is None else result.id,
        digest=digest,
        body=body if result is None else None,
        code=code_of(id_),
        what=what(dispatch, call),
        policy=policy,
        home=dispatch.event.connection,
        asker=person_key(dispatch.event.connector, dispatch.event.data.actor.id),
        status=ApprovalStatus.ASKED,
        needed=policy.count,
        asked_at=0.0,
        expires_at=0.0,
    )


def canonical(call: Call) -> bytes:
    """The call of a tool as it is hashed. Changing this takes back every approval that was given and not used."""
    whole = {"tool": call.name, "input": call.content}
    return json.dumps(whole, sort_keys=True, ensure_ascii=False, default=str).encode("utf-8", "replace")


def place_of(dispatch: Dispatch, grant: Grant) -> str:
    """Where an output goes to, in words."""
    if grant.connection is None:
        return f"on {dispatch.event.subject}"
    fixed = ", ".join(f"{name} {value}" for name, value in grant.target.items() if isinstance(value, str))
    return f"through {grant.connection}" + (f" ({fixed})" if fixed else "")


def what(dispatch: Dispatch, call: Call) -> str:
    """One sentence."""
    place = f" {call.place}" if call.place else ""
    return f"The agent of the rule `{dispatch.rule}` wants to use `{call.name}`{place}."


def question(dispatch: Dispatch, approval: Approval, call: Call, *, show: bool) -> Result:
    """The post that asks. `show` False: its readers may not see the content."""
    policy = approval.policy
    code, digest = approval.code, approval.digest[:MIN_DIGEST]
    typed = f"To approve: `/triggerhub approve {code}`. To deny: `/triggerhub deny {code}`, with the reason behind it."
    known = f"Content `{digest}`; all of it: `triggerhub approvals show {code}`."
    content = fenced(call.content) if show else [HIDDEN]
    text = "\n".join(
        [f"**Approval needed.** {approval.what}", "", *content, "", typed, f"{_who(policy)} {known}"]
    )
    target: dict[str, Any] = {"to": "origin"}
    connection = dispatch.event.connection
    if isinstance(policy.ask, AskAt):
        target, connection = policy.ask.target, policy.ask.connection
    slot = f"{SLOT}{approval.code}"
    return Result(
        id=f"{approval.run_id}:{slot}",
        run=approval.run_id,
        slot=slot,
        conversation=dispatch.conversation,
        output=ASK_OUTPUT,
        connection=connection,
        target=target,
        arguments={"text": text, "value": f"{approval.id}:{approval.digest[:MIN_DIGEST]}"},
        origin=dispatch.origin,
        traceparent=dispatch.traceparent,
    )


def change(approval: Approval, asked: Result, receipt: Receipt, *, votes: int) -> Result | None:
    """The change of a posted question that says how it stands now. None: the vendor named nothing to change."""
    if receipt.artefact is None:
        return None
    body = str(asked.arguments.get("text", ""))
    lines = body.split("\n")
    if approval.is_open:
        text = f"{body}\n\n{votes} of {approval.needed} have approved."
        value = asked.arguments.get("value")
    else:
        # What to type is left out: the first line says what became of it, the content stays.
        kept = [line for line in lines[1:] if not line.startswith(("To approve: ", "Approvers: "))]
        text = "\n".join([f"**{_outcome(approval)}** {approval.what}", *kept]).rstrip()
        value = None
    slot = f"{asked.slot}.{approval.told + 1}"
    return asked.model_copy(
        update={
            "id": f"{approval.run_id}:{slot}",
            "slot": slot,
            "output": EDIT_OUTPUT,
            "arguments": {
                "text": text,
                "artefact": receipt.artefact,
                "slot": asked.slot,
                "value": value,
            },
        }
    )


def denial(approval: Approval) -> str:
    """What the agent is told of a tool that was not allowed."""
    return f"Not allowed: {approval.reason or approval.status}. Find another way, or say what you need."


def fenced(content: Mapping[str, Any]) -> list[str]:
    """The content in a block of code that it cannot leave."""
    lines: list[str] = []
    for name, value in content.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
        first, *rest = text.splitlines() or [""]
        lines += [f"{name}: {first}", *(f"  {line}" for line in rest)]
    shown = "".join(map(_plainly, "\n".join(lines)))
    if len(shown) > MAX_SHOWN:
        shown = f"{shown[:MAX_SHOWN]}\n… ({len(shown) - MAX_SHOWN} more characters)"
    return ["```", *shown.split("\n"), "```"]


def _plainly(letter: str) -> str:
    """What the eye would miss is spelled out: people approve what they see."""
    if letter == "`":
        return "'"
    return letter if letter.isprintable() or letter in "\n\t" else f"\\u{{{ord(letter):x}}}"


def _outcome(approval: Approval) -> str:
    match approval.status:
        case ApprovalStatus.APPROVED:
            return f"Approved by {approval.decided_by}."
        case ApprovalStatus.DENIED:
            text = approval.reason or "denied"
            return f"{text[:1].upper()}{text[1:]}."
        case ApprovalStatus.EXPIRED:
            return "Expired: nobody approved it in time."
        case _:
            return "Not wanted any more."


def _who(policy: ApprovalPolicy) -> str:
    names = [
        f"certain people of {entry.connection}" if isinstance(entry, NamedVoters) else entry
        for entry in policy.by
    ]
    people = "one of" if policy.count == 1 else f"{policy.count} of"
    hours = policy.expires.total_seconds() / 3600
    own = ", but not whoever asked for the work" if policy.not_asker else ""
    return f"Approvers: {people} {', '.join(names)}{own}, within {hours:g} h."

"""Messages with buttons: a question that people decide by clicking. Pure."""

from __future__ import annotations

from typing import Any, Final

from connectors.slack.parts import cut

PREFIX: Final = "triggerhub."
"""Of the action ids that are ours. Clicks on other buttons are rules' business."""
APPROVE: Final = f"{PREFIX}approve"
DENY: Final = f"{PREFIX}deny"
MAX_SECTION: Final = 2_900
"""Characters; Slack takes 3,000 in the text of a block."""


def blocks(text: str, value: str | None) -> list[dict[str, Any]]:
    """The blocks of a question in mrkdwn; without `value` its buttons are gone."""
    section = {"type": "mrkdwn", "text": cut(text, limit=MAX_SECTION, most=1)[0]}
    shown: list[dict[str, Any]] = [{"type": "section", "text": section}]
    if value is not None:
        shown.append(
            {
                "type": "actions",
                "elements": [
                    _button("Approve", "primary", APPROVE, value),
                    _button("Deny", "danger", DENY, value),
                ],
            }
        )
    return shown


def _button(label: str, style: str, action: str, value: str) -> dict[str, Any]:
    text = {"type": "plain_text", "text": label}
    return {"type": "button", "text": text, "style": style, "action_id": action, "value": value}

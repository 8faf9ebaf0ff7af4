"""What a rule may let an agent do in Sentry: comment, set an issue's state, link a pull request to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from pydantic import Field, model_validator

from connectors.own_posts import MAX_VALUE, own_outputs
from connectors.poster import OutputArguments, OutputSpec, OutputTarget
from connectors.sentry.pulls import split_address

MAX_ASSIGNEE: Final = 200


class IssueTarget(OutputTarget):
    """The fixed part: which issue. Not needed with `to: origin`."""

    issue: str | None = Field(default=None, pattern=r"^[0-9]{1,20}$")
    """The numeric id, as in the issue's address."""


class CommentArguments(OutputArguments):
    """What the agent says."""

    text: str = Field(min_length=1, description="The comment, in Markdown.")


class AskArguments(CommentArguments):
    """A question."""

    value: str | None = Field(default=None, max_length=MAX_VALUE)
    """What a button would stand for. Sentry has none."""


class StatusArguments(OutputArguments):
    """The state to set, and who shall look after it."""

    status: Literal["resolved", "resolvedInNextRelease", "unresolved", "ignored"] = Field(
        description="The new state of the issue."
    )
    assigned_to: str | None = Field(
        default=None,
        min_length=1,
        max_length=MAX_ASSIGNEE,
        description="Whom to assign the issue to: user:<id>, team:<id>, a user name or an e-mail address.",
    )


class LinkArguments(OutputArguments):
    """The pull request or ticket to show beside the issue."""

    url: str = Field(
        pattern=r"^https?://\S+$", max_length=2000, description="Address of the pull request or ticket."
    )
    project: str | None = Field(
        default=None,
        min_length=1,
        max_length=200,
        description="Repository or project, such as acme/checkout.",
    )
    identifier: str | None = Field(
        default=None,
        min_length=1,
        max_length=200,
        description="Number or key within the project, such as 12.",
    )

    @model_validator(mode="after")
    def _named(self) -> LinkArguments:
        if (self.project is None or self.identifier is None) and split_address(self.url) is None:
            msg = "url is not the address of a pull request or issue: give project and identifier too"
            raise ValueError(msg)
        return self


OUTPUTS: Final[Mapping[str, OutputSpec]] = {
    "comment": OutputSpec(
        description="Write a comment on the Sentry issue.",
        target=IssueTarget,
        arguments=CommentArguments,
        to_origin=True,
    ),
    "set_issue_status": OutputSpec(
        description="Set the state of the Sentry issue, and optionally assign it.",
        target=IssueTarget,
        arguments=StatusArguments,
        to_origin=True,
    ),
    "link_issue": OutputSpec(
        description=(
            "Link a pull request or ticket to the Sentry issue. One link per issue: a later one replaces it."
        ),
        target=IssueTarget,
        arguments=LinkArguments,
        to_origin=True,
    ),
}

OWN_OUTPUTS: Final[Mapping[str, OutputSpec]] = own_outputs(IssueTarget, AskArguments)

"""What a rule may grant on Jira: the part fixed in the rule (targets) and the part the agent supplies
(arguments).

Shapes only. How they are carried out is the poster's business.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from connectors.own_posts import MAX_VALUE, own_outputs
from connectors.poster import OutputArguments, OutputSpec, OutputTarget

IssueKey = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_]*-[0-9]+$", max_length=100)]
Label = Annotated[str, StringConstraints(pattern=r"^\S+$", max_length=255)]
"""Jira's labels hold no spaces and at most 255 characters."""
StatusName = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=255)]
Category = Literal["to_do", "in_progress", "done"]

CATEGORY_KEYS: Final[Mapping[str, str]] = {"to_do": "new", "in_progress": "indeterminate", "done": "done"}
"""Our words for Jira's three status categories, whose keys are the same in every language."""


class IssueTarget(OutputTarget):
    """Which issue. Left out when the output goes to the origin."""

    issue: IssueKey | None = None


class CommentArguments(OutputArguments):
    """A comment."""

    text: str = Field(min_length=1, description="The comment, in Markdown.")


class AskArguments(CommentArguments):
    """A question."""

    value: str | None = Field(default=None, max_length=MAX_VALUE)
    """What a button would stand for. Jira has none."""


class TransitionTarget(IssueTarget):
    """Where the issue may be moved: one status by name, or whichever status of a category comes first. If the
    rule says neither, the agent chooses.
    """

    status: StatusName | None = None
    category: Category | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if self.status is not None and self.category is not None:
            msg = f"name status ({self.status!r}) or category ({self.category!r}), not both"
            raise ValueError(msg)
        return self


class TransitionArguments(OutputArguments):
    """A change of status."""

    status: StatusName | None = Field(
        default=None,
        description="Name of the status or of the transition. Leave out where the rule fixes it.",
    )


class RemoteLinkArguments(OutputArguments):
    """A link from the issue to something elsewhere, such as a pull request."""

    url: str = Field(
        pattern=r"^https?://[^\s]+$", max_length=2000, description="Address of the linked thing."
    )
    title: str = Field(min_length=1, max_length=255, description="What the link is called on the issue.")
    summary: str | None = Field(default=None, max_length=1000, description="One sentence about it.")
    relationship: str | None = Field(default=None, max_length=255, description="Such as 'fixed by'.")
    resolved: bool = Field(default=False, description="True shows the link struck through, as done.")


class LabelTarget(IssueTarget):
    """A label that the rule fixes; without it the agent chooses."""

    label: Label | None = None


class LabelArguments(OutputArguments):
    """A label."""

    label: Label | None = Field(
        default=None, description="The label, without spaces. Leave out where the rule fixes it."
    )


OUTPUTS: Final[Mapping[str, OutputSpec]] = {
    "comment": OutputSpec(
        description="Comment on a Jira issue. Write Markdown; mentions notify nobody.",
        target=IssueTarget,
        arguments=CommentArguments,
        to_origin=True,
    ),
    "transition": OutputSpec(
        description="Move a Jira issue to another status of its workflow.",
        target=TransitionTarget,
        arguments=TransitionArguments,
        to_origin=True,
    ),
    "add_remote_link": OutputSpec(
        description="Show a link, such as a pull request, on a Jira issue. One address is one link.",
        target=IssueTarget,
        arguments=RemoteLinkArguments,
        to_origin=True,
    ),
    "add_label": OutputSpec(
        description="Put a label on a Jira issue.",
        target=LabelTarget,
        arguments=LabelArguments,
        to_origin=True,
    ),
    "remove_label": OutputSpec(
        description="Take a label off a Jira issue.",
        target=LabelTarget,
        arguments=LabelArguments,
        to_origin=True,
    ),
}

OWN_OUTPUTS: Final[Mapping[str, OutputSpec]] = own_outputs(IssueTarget, AskArguments)

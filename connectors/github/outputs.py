"""What can be posted to GitHub: the part a rule fixes (target) and the part the agent supplies (arguments).

Shapes and bounds only; nothing here talks to GitHub.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from connectors.own_posts import MAX_VALUE, own_outputs
from connectors.poster import OutputArguments, OutputSpec, OutputTarget
from schemas.policy.shapes import MAX_DIFF_LINES, MAX_FILES, ChangePolicy, PathPolicy
from schemas.values import one_or_many

MAX_CHANGE: Final = 600_000
"""Characters of files or a patch. A result must fit into a message."""
MAX_INPUT: Final = 200_000
"""Characters an agent may hand over; what GitHub does not take is cut when posting."""

RepositoryName = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+$", max_length=200)
]
Sha = Annotated[str, StringConstraints(pattern=r"^[0-9a-fA-F]{7,64}$")]
Branch = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9._+#@=][A-Za-z0-9._/+#@=-]*$", max_length=255),
]
"""A branch of the repository itself. `owner:branch` is not taken: a stranger's fork would, under our name,
look as if it were ours."""
Label = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=50)]
Patterns = Annotated[
    tuple[Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9*?._/+#@=-]+$", max_length=255)], ...],
    BeforeValidator(one_or_many),
    Field(max_length=100),
]
"""Names with `*` within a part and `**` over parts."""
Markdown = Annotated[str, StringConstraints(min_length=1, max_length=MAX_INPUT)]
Reaction = Literal["+1", "-1", "laugh", "confused", "heart", "hooray", "rocket", "eyes"]


_CHANGES: Final = ChangePolicy()


class RepositoryTarget(OutputTarget):
    """Base: the repository. Left out with `to: origin`, where the event names it."""

    repository: RepositoryName | None = None


class CommentTarget(RepositoryTarget):
    """An issue or pull request."""

    number: int | None = Field(default=None, gt=0)


class CommentArguments(OutputArguments):
    text: Markdown = Field(
        description="The comment, in GitHub Markdown. @mentions are shown but notify nobody."
    )


class AskArguments(CommentArguments):
    value: str | None = Field(default=None, max_length=MAX_VALUE)
    """What a button would stand for. GitHub has none."""


class ThreadTarget(CommentTarget):
    """A thread of review comments."""

    comment_id: int | None = Field(default=None, gt=0)
    """The first comment of the thread."""


class PullRequestTarget(RepositoryTarget):
    repositories: Patterns = ()
    """Instead of one: `owner/repo` or `owner/*`, of which the agent names one."""
    base: Branch | None = None
    """The branch to merge into. Left out: what the agent says, else the default branch."""
    bases: Patterns = ()
    """Branches that the agent may name as base."""
    branches: Patterns = ()
    """Branches that the agent may have pushed. One that the hub makes has a name of its own."""
    source: Literal["any", "branch", "patch"] = "any"
    """Where the commits come from: a branch that was pushed, or files or a patch that the hub commits."""
    draft: bool = False
    title_prefix: str = Field(default="", max_length=60)
    labels: tuple[Label, ...] = Field(default=(), max_length=20)
    paths: PathPolicy = Field(default_factory=PathPolicy)
    max_files: int = Field(default=_CHANGES.max_files, ge=1, le=MAX_FILES)
    max_diff_lines: int = Field(default=_CHANGES.max_diff_lines, ge=1, le=MAX_DIFF_LINES)

    @model_validator(mode="after")
    def _one_place(self) -> PullRequestTarget:
        if self.repository is not None and self.repositories:
            msg = "write either repository or repositories, not both"
            raise ValueError(msg)
        if self.base is not None and self.bases:
            msg = "write either base or bases, not both"
            raise ValueError(msg)
        return self

    @property
    def changes(self) -> ChangePolicy:
        """What may be changed."""
        return ChangePolicy(paths=self.paths, max_files=self.max_files, max_diff_lines=self.max_diff_lines)


class FileArgument(OutputArguments):
    """One file as it shall be."""

    path: str = Field(min_length=1, max_length=1000, description="Path from the top of the repository.")
    content: str | None = Field(
        default=None, max_length=MAX_CHANGE, description="The whole file. Leave out only to delete it."
    )
    encoding: Literal["utf-8", "base64"] = Field(default="utf-8", description="base64 for what is no text.")
    delete: bool = Field(default=False, description="True removes the file.")
    mode: Literal["100644", "100755", "120000"] | None = Field(
        default=None, description="Git's mode. Leave out to keep it as it is."
    )

    @model_validator(mode="after")
    def _whole(self) -> FileArgument:
        if self.delete == (self.content is not None):
            msg = "give either content or delete: true"
            raise ValueError(msg)
        return self


class PullRequestArguments(OutputArguments):
    title: str = Field(min_length=1, max_length=1000, description="One line that says what the change does.")
    body: str = Field(default="", max_length=MAX_INPUT, description="What was changed and why, in Markdown.")
    head: Branch | None = Field(
        default=None, description="A branch with the commits that you have pushed to the repository."
    )
    base: Branch | None = Field(
        default=None, description="The branch to merge into; leave out for the default branch."
    )
    repository: RepositoryName | None = Field(
        default=None, description="owner/repo, where more than one is allowed."
    )
    files: tuple[FileArgument, ...] = Field(
        default=(),
        max_length=300,
        description="Instead of head: the files to write or delete; they are committed onto base for you.",
    )
    patch: str | None = Field(
        default=None,
        min_length=1,
        max_length=MAX_CHANGE,
        description="Instead of head or files: a unified diff (git diff) against base. It must fit exactly.",
    )

    @model_validator(mode="after")
    def _one_source(self) -> PullRequestArguments:
        if sum((self.head is not None, bool(self.files), self.patch is not None)) != 1:
            msg = "give one of head (a branch you have pushed), files, or patch"
            raise ValueError(msg)
        return self

    @property
    def is_pushed(self) -> bool:
        """Whether the agent pushed a branch; else the hub makes one."""
        return self.head is not None


class ReactionTarget(ThreadTarget):
    """An issue, a pull request, or with `comment_id` a comment in its conversation."""

    content: Reaction | None = None
    """Fixes the reaction. Left out: what the agent says."""


class ReactionArguments(OutputArguments):
    content: Reaction = Field(default="eyes", description="The reaction to add.")


class LabelTarget(CommentTarget):
    allowed: tuple[Label, ...] = Field(default=(), max_length=100)
    """The labels the agent may choose from. Empty: any."""


class LabelArguments(OutputArguments):
    labels: tuple[Label, ...] = Field(min_length=1, max_length=20, description="Names of the labels to add.")


class CommitTarget(RepositoryTarget):
    """Base: a commit. Left out with `to: origin`, where the event names it."""

    sha: Sha | None = None


class StatusTarget(CommitTarget):
    context: str = Field(default="triggerhub", min_length=1, max_length=255)


class StatusArguments(OutputArguments):
    state: Literal["pending", "success", "failure", "error"] = Field(description="The state to show.")
    description: str = Field(
        default="", max_length=1000, description="One short line; cut at 140 characters."
    )
    target_url: str | None = Field(
        default=None, max_length=2000, pattern=r"^https?://", description="A page with details."
    )


class CheckRunTarget(CommitTarget):
    name: str = Field(default="triggerhub", min_length=1, max_length=255)


class CheckRunArguments(OutputArguments):
    conclusion: Literal[
        "success", "failure", "neutral", "cancelled", "skipped", "timed_out", "action_required"
    ] = Field(description="The outcome to show.")
    title: str = Field(min_length=1, max_length=1000, description="One line that says the outcome.")
    summary: str = Field(min_length=1, max_length=MAX_INPUT, description="The findings, in Markdown.")
    text: str = Field(default="", max_length=MAX_INPUT, description="Further details, in Markdown.")


OUTPUTS: Final[dict[str, OutputSpec]] = {
    "comment": OutputSpec(
        description="Write a comment on the GitHub issue, pull request or commit.",
        target=CommentTarget,
        arguments=CommentArguments,
        to_origin=True,
        mentions=True,
    ),
    "reply_in_review_thread": OutputSpec(
        description="Reply in the thread of review comments on a line of a GitHub pull request.",
        target=ThreadTarget,
        arguments=CommentArguments,
        to_origin=True,
        mentions=True,
    ),
    "open_pull_request": OutputSpec(
        description=(
            "Open a GitHub pull request, from a branch that you have pushed (head), or from files or a patch that are "
            "committed for you, for which you need no access to the repository."
        ),
        target=PullRequestTarget,
        arguments=PullRequestArguments,
        to_origin=True,
        code=("files", "patch"),
        mentions=True,
    ),
    "add_reaction": OutputSpec(
        description="Add a reaction to the GitHub comment, issue or pull request.",
        target=ReactionTarget,
        arguments=ReactionArguments,
        to_origin=True,
    ),
    "add_label": OutputSpec(
        description="Add labels to the GitHub issue or pull request.",
        target=LabelTarget,
        arguments=LabelArguments,
        to_origin=True,
    ),
    "set_commit_status": OutputSpec(
        description="Set the status that GitHub shows beside the commit.",
        target=StatusTarget,
        arguments=StatusArguments,
        to_origin=True,
    ),
    "create_check_run": OutputSpec(
        description="Report a completed check on the GitHub commit, with a summary.",
        target=CheckRunTarget,
        arguments=CheckRunArguments,
        to_origin=True,
    ),
}

OWN_OUTPUTS: Final = own_outputs(CommentTarget, AskArguments)

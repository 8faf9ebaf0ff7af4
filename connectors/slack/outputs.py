"""What a rule may let an agent post in Slack: the part the rule fixes, and the part the agent supplies."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field, StringConstraints, model_validator

from connectors.own_posts import MAX_VALUE, own_outputs
from connectors.poster import OutputArguments, OutputSpec, OutputTarget

MAX_TEXT: Final = 100_000
"""Characters of Markdown taken from an agent; what does not fit the messages of one post is cut with a note.
"""

ChannelId = Annotated[str, StringConstraints(pattern=r"^[CDG][A-Za-z0-9_-]{1,40}$")]
"""A channel's id, not its name: names change and can be taken over. Slack shows it at the foot of a
channel's details.
"""
Ts = Annotated[str, StringConstraints(pattern=r"^\d{1,12}\.\d{1,6}$")]
EmojiName = Annotated[str, StringConstraints(pattern=r"^:?[a-z0-9_+'\-]{1,100}(?:::skin-tone-[2-6])?:?$")]
Text = Annotated[str, StringConstraints(pattern=r"\S", max_length=MAX_TEXT)]


class CommentTarget(OutputTarget):
    """A thread fixed by the rule. Not needed with `to: origin`, which replies where the event came from."""

    channel: ChannelId | None = None
    thread_ts: Ts | None = None


class CommentArguments(OutputArguments):
    """A reply."""

    text: Text = Field(description="The reply, in Markdown.")


class AskArguments(CommentArguments):
    """A question with two buttons."""

    value: str | None = Field(default=None, max_length=MAX_VALUE)
    """What the buttons stand for. None: it has none any more."""


class PostMessageTarget(OutputTarget):
    """A channel that the app is a member of, or several of which the agent names one."""

    channel: ChannelId | None = None
    channels: tuple[ChannelId, ...] = Field(default=(), max_length=100)

    @model_validator(mode="after")
    def _one(self) -> PostMessageTarget:
        if (self.channel is None) == (not self.channels):
            msg = "write channel, or channels for several of which the agent names one"
            raise ValueError(msg)
        return self


class PostMessageArguments(OutputArguments):
    """A message."""

    text: Text = Field(description="The message, in Markdown.")
    channel: ChannelId | None = Field(
        default=None, description="The channel's id, where more than one is allowed."
    )


class UpdateMessageTarget(OutputTarget):
    """Nothing to fix: only messages of the same run in the origin's thread can be changed."""


class UpdateMessageArguments(OutputArguments):
    """A new text for a message of this run."""

    text: Text = Field(description="The whole new text, in Markdown. It replaces the old one.")
    message_ts: Ts | None = Field(
        default=None,
        description="Time stamp of the message to change. Without it the newest one of this run is changed.",
    )


class AddReactionTarget(OutputTarget):
    """An emoji fixed by the rule, which then wins over the agent's."""

    name: EmojiName | None = None


class AddReactionArguments(OutputArguments):
    """An emoji."""

    name: EmojiName | None = Field(
        default=None, description="The emoji's name, such as eyes or white_check_mark."
    )


OUTPUTS: Final = {
    "comment": OutputSpec(
        description="Reply in the Slack thread that the work came from.",
        target=CommentTarget,
        arguments=CommentArguments,
        to_origin=True,
        mentions=True,
    ),
    "post_message": OutputSpec(
        description="Post a new message in a fixed Slack channel.",
        target=PostMessageTarget,
        arguments=PostMessageArguments,
        to_origin=False,
        mentions=True,
    ),
    "update_message": OutputSpec(
        description="Change a message you posted in the originating Slack thread, such as to show progress.",
        target=UpdateMessageTarget,
        arguments=UpdateMessageArguments,
        to_origin=True,
        mentions=True,
    ),
    "add_reaction": OutputSpec(
        description="Add an emoji reaction to the Slack message that the work came from.",
        target=AddReactionTarget,
        arguments=AddReactionArguments,
        to_origin=True,
    ),
}

OWN_OUTPUTS: Final = own_outputs(CommentTarget, AskArguments)

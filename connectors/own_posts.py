"""What the hub itself posts and no rule can grant: questions that people decide, and changes of what it asked before."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from pydantic import Field

from connectors.poster import OutputArguments, OutputSpec, OutputTarget, Post, Poster, PostRefusedError
from schemas.policy.approval import ASK_OUTPUT, EDIT_OUTPUT
from schemas.result import Receipt

ASK: Final = ASK_OUTPUT
EDIT: Final = EDIT_OUTPUT
MAX_VALUE: Final = 200


class EditArguments(OutputArguments):
    """The whole new text of a question. Making the same change twice changes nothing."""

    text: str = Field(min_length=1)
    artefact: str = Field(min_length=3, max_length=400)
    """Of the question's receipt."""
    slot: str = Field(min_length=1, max_length=128)
    """Under which it was posted: its marker stays."""
    value: str | None = Field(default=None, max_length=MAX_VALUE)
    """What the buttons stand for, where there still are any."""


def own_outputs(target: type[OutputTarget], asking: type[OutputArguments]) -> dict[str, OutputSpec]:
    """Both, for a connector. `target` and `asking` are those of its comments, `asking` with a `value`, or None."""
    return {
        ASK: OutputSpec(description="", target=target, arguments=asking, to_origin=True),
        EDIT: OutputSpec(description="", target=target, arguments=EditArguments, to_origin=True),
    }


async def edit(poster: Poster, post: Post, asking: OutputSpec) -> Receipt:
    """Have the question say what `post`, an `edit_post`, says. `asking`: the spec of questions. Raises PostError."""
    if not isinstance(post.arguments, EditArguments):
        msg = f"the output {post.output} got arguments of another output"
        raise PostRefusedError(msg)
    wanted = post.arguments
    arguments = asking.arguments.model_validate({"text": wanted.text, "value": wanted.value})
    question = replace(post, output=ASK, slot=wanted.slot, arguments=arguments)
    changed = await poster.update(question, Receipt(artefact=wanted.artefact))
    # The artefact is the question's: it was learnt when that was posted.
    return changed.model_copy(update={"artefact": None})

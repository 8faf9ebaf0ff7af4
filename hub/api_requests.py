"""What the JSON API takes: strict shapes, so that a misspelt field is not ignored. What it answers is in `api_models`."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from schemas.values import MAX_BUDGET_USD


class _Asked(BaseModel):
    """What the API takes is strict: a misspelt field must not be ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid")


Reason = Annotated[str, Field(min_length=1, max_length=1000, pattern=r"^[^\u0000]*\S[^\u0000]*$")]
"""Words of a person, kept with what they did."""


class DropRequest(_Asked):
    """Give a dead letter up."""

    reason: Reason


class ResumeRequest(_Asked):
    """What is to go on again."""

    scope: Literal["rule", "team", "all"]
    name: Annotated[str, Field(max_length=100, pattern=r"^[^\u0000]*$")] = ""
    """Of the rule or team; empty for everything."""

    @model_validator(mode="after")
    def _named(self) -> Self:
        if (self.scope == "all") == bool(self.name):
            msg = "name the rule or team; everything (scope: all) has no name"
            raise ValueError(msg)
        return self


class PauseRequest(ResumeRequest):
    """What is to stop."""

    reason: Reason | None = None


class BudgetRequest(_Asked):
    """Raise what a run may spend in all."""

    usd: Annotated[Decimal, Field(gt=0, le=MAX_BUDGET_USD, decimal_places=2)]


class ReplayRequest(_Asked):
    """Ask the rules about an event once more."""

    again: bool = False
    """Dispatch rules once more that were dispatched for it before: a second session may do the same work."""
    reason: Reason | None = None

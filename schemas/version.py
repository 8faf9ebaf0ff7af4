"""The version of what travels on Kafka, and the rule for readers: ignore unknown fields, refuse a newer version.

The number grows only when a field is removed or changes its meaning, and first in a release whose predecessor reads it.
"""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

SCHEMA_VERSION: Final = 1
"""Of everything that this triggerhub writes. It reads this one and every one before."""
NEWER: Final = "newer_schema"
"""Pydantic's name for the error of a message that is newer than its reader."""


def too_new(version: int) -> str | None:
    """Why a message of this version cannot be read here, with the remedy; None where it can."""
    if version <= SCHEMA_VERSION:
        return None
    return (
        f"written in schema version {version}, and this triggerhub reads up to {SCHEMA_VERSION}: "
        "upgrade it, then retry this message"
    )


def _readable(version: int) -> int:
    reason = too_new(version)
    if reason is not None:
        raise PydanticCustomError(NEWER, "{reason}", {"reason": reason})
    return version


SchemaVersion = Annotated[int, Field(ge=1), AfterValidator(_readable)]
"""Version of a message; a newer one than ours is refused with its own kind of error."""

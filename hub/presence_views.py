"""How the signs of a run's presence stand, for the API and the command line. Reads only."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection

from schemas.result import Receipt
from storage.presence import presence_of


class PresenceView(BaseModel):
    """One sign of a run where it came from."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    kind: str
    """`seen`, `status`, `check`, or `check:` and the pull request."""
    status: str
    """`open`, `shown` or `dropped`."""
    url: str | None
    error: str | None
    """Why it was dropped, or what went wrong last."""
    updated_at: datetime
    """When it last changed what it shows, or was wanted."""


def signs_of(connection: Connection, run_id: str) -> tuple[PresenceView, ...]:
    """The signs of a run, what was shown first before what follows work."""
    found = []
    for row in presence_of(connection, run_id):
        receipt = Receipt.model_validate_json(row.pop("receipt") or "{}")
        # Seconds since the epoch are read as UTC.
        found.append(PresenceView.model_validate({**row, "url": receipt.url}))
    return tuple(found)

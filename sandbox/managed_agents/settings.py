"""How the emulator behaves: pacing, heartbeats, limits and delays. Values only; changed at run time
through `/_emu`."""

from __future__ import annotations

import os

from pydantic import BaseModel, ConfigDict, Field

PACE_VARIABLE = "TRIGGERHUB_SANDBOX_PACE"


class Settings(BaseModel):
    """All times are seconds."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True)

    pace: float = Field(default=0.03, ge=0)
    """Pause between two steps of an agent. A demo raises it to be watchable."""
    heartbeat: float = Field(default=5.0, gt=0)
    """A ping on every stream that was silent for so long."""
    creates_per_minute: int | None = Field(default=None, ge=1)
    """Create calls of the whole organization; the service allows 300. None: no limit."""
    reads_per_minute: int | None = Field(default=None, ge=1)
    """Retrieve, list and stream calls; the service allows 1,200. None: no limit."""
    status_lag: float = Field(default=0.0, ge=0)
    """`status` still reads `running` for so long after the stream said idle."""
    list_lag: float = Field(default=0.0, ge=0)
    """A new session is absent from `sessions.list` for so long."""
    webhook_retry: float = Field(default=5.0, ge=0)
    """A webhook that was not taken is sent again after so long, or up to twice that."""
    echo_queued: bool = False
    """Streams show a sent event at once with `processed_at: null`, and again when it is processed, even
    when the session was idle. While a session runs this happens anyway."""

    @classmethod
    def from_environment(cls, *, pace: float | None = None) -> Settings:
        """Defaults, with the pace from the argument or from `TRIGGERHUB_SANDBOX_PACE`."""
        if pace is not None:
            return cls(pace=pace)
        given = os.environ.get(PACE_VARIABLE)
        return cls.model_validate({"pace": float(given)} if given else {})

"""Wiring of what looks after the connections: the search for what vendors could not deliver, and the watch on silence.

Part of the role `poster`, which has the vendors' credentials.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from connectors.healing import Healing, Pace
from connectors.outbox import Outbox
from connectors.vigil import Vigil

if TYPE_CHECKING:
    from hub.hub import Parts


def start_healing(
    tasks: asyncio.TaskGroup, parts: Parts, outbox: Outbox, pace: Pace
) -> list[asyncio.Task[Any]]:
    """Begin both, and let `/readyz` tell of silence."""
    healing = Healing(
        lambda: parts.outbound,
        parts.database,
        owner=parts.instance,
        announce=parts.publisher.announce,
        observations=parts.metrics,
        held_back=outbox.held_back,
        pace=replace(pace, interval=parts.settings.healing_interval_seconds),
    )
    vigil = Vigil(lambda: parts.live, parts.database, observations=parts.metrics)
    parts.progress.silent = lambda: vigil.silent
    return [
        tasks.create_task(healing.run(), name="healing"),
        tasks.create_task(vigil.run(), name="vigil"),
    ]

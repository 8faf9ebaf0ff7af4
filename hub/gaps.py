"""Wiring of what looks after the connections: the search for what vendors could not deliver, watch on silence, canaries.

The first two are part of the role `poster`, which has the vendors' credentials; canaries are part of `ingress`.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from connectors.canaries import Canaries
from connectors.healing import Healing, Pace
from connectors.intake import Intake
from connectors.outbox import Outbox
from connectors.vigil import Vigil

if TYPE_CHECKING:
    from hub.parts import Parts


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


def canaries_of(parts: Parts, intake: Intake) -> Canaries:
    """What sends canaries, for the connections that have them switched on."""
    everywhere = parts.settings.canary

    def names() -> list[str]:
        return [
            name
            for name, one in parts.live.items()
            if (everywhere if one.settings.canary is None else one.settings.canary)
        ]

    return Canaries(
        names,
        parts.database,
        intake,
        announce=parts.publisher.announce,
        observations=parts.metrics,
        interval=parts.settings.canary_seconds,
    )

"""Interpreter settings for a process that serves webhooks beside a database thread. Measured in docs/performance.md."""

from __future__ import annotations

import gc
import sys
from typing import Final

SWITCH_SECONDS: Final = 0.0005
"""How long the event loop may keep the interpreter lock while the database thread waits for it. The default of 5 ms is
waited for after every SQLite call, which adds up to a commit's whole duration."""
YOUNG_OBJECTS: Final = 50_000
"""Decoded payloads are many small objects that die soon: collecting at the default of 700 walks them for nothing."""


def tune() -> None:
    """Apply the settings. Call once, when everything is imported and built."""
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 20, 20)

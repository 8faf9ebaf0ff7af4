"""The caps of the configuration in force, worked out once for each configuration."""

from __future__ import annotations

from collections.abc import Callable

from schemas.caps import CapSet, caps_of
from schemas.config import Config


class ConfiguredCaps:
    """What the runner asks with every claim."""

    def __init__(self, config: Callable[[], Config]) -> None:
        self._config = config
        self._known: tuple[Config, CapSet] | None = None

    def __call__(self) -> CapSet:
        config = self._config()
        if self._known is None or self._known[0] is not config:
            self._known = config, caps_of(config)
        return self._known[1]

"""SQLite files for tests: copies of one that is migrated already."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path


class MigratedFiles:
    """Makes the databases of one test, in its folder."""

    def __init__(self, template: Path, folder: Path) -> None:
        self._template = template
        self._folder = folder
        self._numbers = itertools.count(1)

    async def take(self) -> str:
        """URL of a migrated database without a row."""
        return f"sqlite:///{shutil.copyfile(self._template, self._folder / f'hub-{next(self._numbers)}.db')}"

    async def give_back(self, url: str) -> None:
        """The folder goes with the test."""

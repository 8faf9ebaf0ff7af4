"""Finding the connectors: every folder beside this file that has a module `connector` with a `CONNECTOR` in it.

A new source is a new folder; nothing is listed here by name.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from functools import cache

import connectors
from connectors.base import Connector


class UnknownSourceError(LookupError):
    """No folder of that name."""


@cache
def source_names(paths: tuple[str, ...] | None = None) -> tuple[str, ...]:
    """Names of all connectors, sorted. `paths` replaces the folder to look in (tests add one)."""
    places: Sequence[str] = paths if paths is not None else tuple(connectors.__path__)
    return tuple(sorted(info.name for info in pkgutil.iter_modules(places) if info.ispkg))


@cache
def connector(source: str) -> Connector:
    """The connector of that name. Imported on first use, so that `--help` pays for none of them."""
    if source not in source_names():
        near = get_close_matches(source, source_names(), n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(source_names())}"
        msg = f"no connector is called {source!r}; {hint}"
        raise UnknownSourceError(msg)
    module = importlib.import_module(f"connectors.{source}.connector")
    found: Connector = module.CONNECTOR
    return found


def all_connectors() -> Iterator[Connector]:
    """Every connector found."""
    for name in source_names():
        yield connector(name)

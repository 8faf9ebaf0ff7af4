"""The hidden marker in everything we post: whose it is, and which event it all began with. Pure.

A poster finds its own earlier attempt by (run, slot). The router reads the lineage: the root event and how deep the run
lay below it, with a signature, so that what another program quotes of us is known wherever it turns up. Anybody can copy
a marker: it stops and counts, and must open no door.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

MAX_READ: Final = 8
"""Markers that are read of one text."""
MAX_DEPTH_READ: Final = 999
_HEX: Final = 32
"""Hexadecimal digits of the signature: half of a SHA-256."""
_PLAIN: Final = re.compile(r"(?!.*--)[A-Za-z0-9_.:-]{1,128}")
_WORDS: Final = re.compile(
    r"triggerhub run=(?P<run>[A-Za-z0-9_-]{1,64})"
    r"(?: slot=(?P<slot>[A-Za-z0-9_.:-]{1,128}))?"
    r"(?: root=(?P<root>[A-Za-z0-9_.:~-]{1,128}) depth=(?P<depth>\d{1,3}) sig=(?P<signature>[0-9a-f]{32}))?"
)


@dataclass(frozen=True, slots=True)
class Lineage:
    """Where a run comes from. Signed by the hub that ran it."""

    root: str
    """Identifier of the event that a person or a system caused, and from which all came."""
    depth: int
    """How many runs lie between that event and this run."""
    signature: str

    @property
    def words(self) -> str:
        """As a marker carries it."""
        return f"root={self.root} depth={self.depth} sig={self.signature}"


@dataclass(frozen=True, slots=True)
class Marker:
    """One marker, as it is written or as it was found."""

    run: str
    slot: str | None
    lineage: Lineage | None = None
    """None: an earlier version wrote it, or what was posted was no run's of this hub."""

    @property
    def words(self) -> str:
        """Without what hides it, which is each vendor's own. Changing its start breaks the finding of earlier posts."""
        told = f"triggerhub run={self.run}"
        if self.slot is not None:
            told += f" slot={self.slot}"
        return told if self.lineage is None else f"{told} {self.lineage.words}"

    def is_genuine(self, key: bytes) -> bool:
        """Whether the hub that holds `key` signed it for this run. Compared in constant time."""
        lineage = self.lineage
        if lineage is None:
            return False
        return hmac.compare_digest(_signature(key, self.run, lineage.root, lineage.depth), lineage.signature)


def signed(key: bytes, *, run: str, root: str, depth: int) -> Lineage:
    """The lineage of a run. A root whose characters could end the marker is named by its hash."""
    if not _PLAIN.fullmatch(root):
        root = "~" + hashlib.sha256(root.encode("utf-8", "surrogatepass")).hexdigest()[:_HEX]
    depth = max(0, min(depth, MAX_DEPTH_READ))
    return Lineage(root, depth, _signature(key, run, root, depth))


def _signature(key: bytes, run: str, root: str, depth: int) -> str:
    told = "\n".join(("triggerhub marker 1", run, root, str(depth))).encode()
    return hmac.new(key, told, hashlib.sha256).hexdigest()[:_HEX]


def read_markers(text: str) -> Iterator[Marker]:
    """The first markers in `text`, in whatever form a vendor's posts carry them."""
    if "triggerhub run=" not in text:
        return
    for number, found in enumerate(_WORDS.finditer(text)):
        if number == MAX_READ:
            return
        lineage = None
        if found["root"] is not None:
            lineage = Lineage(found["root"], int(found["depth"]), found["signature"])
        yield Marker(found["run"], found["slot"], lineage)


def markers_in(text: str) -> str | None:
    """The words of all markers in `text`, a line each; None without any."""
    return "\n".join(marker.words for marker in read_markers(text)) or None

"""Samples of a connector: bodies, headers and the events expected of them, as in its folder `fixtures/`.

`NAME.json` or `NAME.form.txt` is a body, `NAME.headers.json` its headers without a signature,
`NAME.expected.json` what `normalise` and `seal` must make of it. Run as a program to write the expected files
of connectors anew; then read each of them before committing. Must not decide whether a sample is right.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from connectors.base import Connector, Identity, Normalised, Request, UnreadableError, seal

ROOT: Final = Path(__file__).resolve().parents[2]
SHARED: Final = ROOT.parent / "shared"
"""Captured payloads and reference vectors: beside the repository on some machines, absent on others."""
CONNECTION: Final = "acme"
RECEIVED_AT: Final = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
NOW: Final = 1_767_323_045.0
"""The moment of signing and verifying in these tests."""
OMITTED: Final = frozenset(
    {"specversion", "schemaversion", "datacontenttype", "connection", "dataref", "traceparent"}
)


@dataclass(frozen=True, slots=True)
class Sample:
    """One body with its headers. `expected` is None where the folder holds none (captured payloads)."""

    name: str
    headers: Mapping[str, str]
    body: bytes
    expected: Mapping[str, Any] | None

    @property
    def request(self) -> Request:
        """The unsigned request, as `normalise` sees it."""
        return Request(headers=lowered(self.headers), body=self.body)

    @property
    def identity(self) -> Identity:
        """Who we are in this sample."""
        given = (self.expected or {}).get("identity") or {}
        return Identity(
            actor_ids=frozenset(given.get("actor_ids", ())), logins=frozenset(given.get("logins", ()))
        )


def folder(connector: Connector) -> Path:
    """The folder that the connector's module lies in, wherever that is."""
    location = importlib.import_module(type(connector).__module__).__file__
    assert location is not None
    return Path(location).parent


def read_samples(place: Path) -> Iterator[Sample]:
    """Every sample in `place`, sorted by name. Nothing where the folder is absent."""
    if not place.is_dir():
        return
    for path in sorted(place.iterdir()):
        name, form = path.name, path.name.endswith(".form.txt")
        if not form and (path.suffix != ".json" or name.endswith((".headers.json", ".expected.json"))):
            continue
        stem = name.removesuffix(".form.txt") if form else name.removesuffix(".json")
        expected = place / f"{stem}.expected.json"
        yield Sample(
            name=stem,
            headers=_headers(place / f"{stem}.headers.json", is_form=form),
            body=path.read_bytes(),
            expected=json.loads(expected.read_bytes()) if expected.is_file() else None,
        )


def lowered(headers: Mapping[str, str]) -> dict[str, str]:
    """Header names in lower case, which is the caller's part of the contract."""
    return {name.lower(): value for name, value in headers.items()}


def describe(source: str, normalised: Normalised) -> dict[str, Any]:
    """The part of an expected file that the code produces."""
    events = []
    for fact in normalised.facts:
        event = seal(
            fact,
            source=source,
            connection=CONNECTION,
            payload=normalised.payload,
            received_at=RECEIVED_AT,
        ).model_dump(mode="json")
        del event["data"]["payload"]
        if not event["data"]["outside"]:  # one sample in a hundred: left out where it says nothing
            del event["data"]["outside"]
        del event["data"]["addressed"]  # said by the connection's identity, whatever the connector
        if event["data"]["marked"] is None:
            del event["data"]["marked"]
        events.append({name: value for name, value in event.items() if name not in OMITTED})
    return {"outcome": normalised.outcome.value, "reason": normalised.reason, "events": events}


def describe_sample(connector: Connector, sample: Sample) -> dict[str, Any]:
    """`describe` of a sample; a body that cannot be read gives the outcome `unreadable`."""
    try:
        normalised = connector.normalise(sample.request, identity=sample.identity)
    except UnreadableError as error:
        return {"outcome": "unreadable", "reason": str(error), "events": []}
    return describe(connector.source, normalised)


def _headers(path: Path, *, is_form: bool) -> dict[str, str]:
    """Captured header files note their origin under `_provenance` and null what was not published."""
    given = json.loads(path.read_bytes()) if path.is_file() else {}
    headers = {name: value for name, value in given.items() if value is not None and not name.startswith("_")}
    if is_form and "content-type" not in lowered(headers):
        headers["Content-Type"] = "application/x-www-form-urlencoded"
    return headers


def _rewrite(source: str) -> None:
    connector: Connector = importlib.import_module(f"connectors.{source}.connector").CONNECTOR
    for sample in read_samples(folder(connector) / "fixtures"):
        identity = (sample.expected or {}).get("identity")
        found = {**({"identity": identity} if identity else {}), **describe_sample(connector, sample)}
        path = folder(connector) / "fixtures" / f"{sample.name}.expected.json"
        path.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    for name in sys.argv[1:]:
        _rewrite(name)

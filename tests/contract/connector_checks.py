"""What every connector must keep, as functions of a connector: one that exists in a test only passes the very same."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Final

import httpx
import pytest
import yaml
from contract.samples import (
    CONNECTION,
    NOW,
    RECEIVED_AT,
    Sample,
    describe_sample,
    folder,
    lowered,
    read_samples,
)
from pydantic import ValidationError

from connectors.base import Connector, Identity, Outcome, Request, SignatureError, seal
from schemas.event import KINDS, TRUSTS, Event

SECRET: Final = "first-secret-0123456789abcdef-0123"
OTHER: Final = "second-secret-0123456789abcdef-012"


def own_samples(connector: Connector) -> list[Sample]:
    """The samples of the connector's own folder; there must be some."""
    samples = list(read_samples(folder(connector) / "fixtures"))
    assert len(samples) >= 3, (
        f"{connector.source} has {len(samples)} samples; add bodies to its folder fixtures/"
    )
    return samples


def signed(connector: Connector, sample: Sample, secret: str = SECRET) -> dict[str, str]:
    """Headers with a signature, names in lower case as the receiver passes them."""
    return lowered(connector.sign(sample.headers, sample.body, secret=secret, now=NOW))


def refuses(connector: Connector, headers: Mapping[str, str], body: bytes, *secrets: str) -> bool:
    """True where verifying raises SignatureError; any other exception is a failure of the test."""
    try:
        connector.verify(Request(headers, body), secrets=secrets or (SECRET,), now=NOW)
    except SignatureError:
        return True
    return False


def altered_bodies(body: bytes) -> Iterator[tuple[str, bytes]]:
    """Bodies that are almost this one."""
    yield "a space at the end", body + b" "
    yield "a line end at the end", body + b"\n"
    yield "a space at the start", b" " + body
    for at in sorted({0, len(body) // 2, len(body) - 1} if body else set()):
        yield f"byte {at} flipped", body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]
    if body:
        yield "the last byte missing", body[:-1]
        yield "nothing left", b""
    try:
        value = json.loads(body)
    except ValueError:
        return
    yield "written anew", json.dumps(value).encode() if json.dumps(value).encode() != body else body + b" "
    if isinstance(value, dict) and len(value) > 1:
        turned = dict(reversed(value.items()))
        yield "keys in another order", json.dumps(turned, separators=(",", ":"), ensure_ascii=False).encode()


def check_signatures(connector: Connector) -> None:
    """Good signatures pass under each live secret; nothing else does."""
    for sample in own_samples(connector):
        headers = signed(connector, sample)
        request = Request(headers, sample.body)
        for secrets in ((SECRET,), (SECRET, OTHER), (OTHER, SECRET)):
            connector.verify(request, secrets=secrets, now=NOW)
        assert refuses(connector, headers, sample.body, OTHER), f"{sample.name}: passes under another secret"
        for change, body in altered_bodies(sample.body):
            assert refuses(connector, headers, body), f"{sample.name}: passes with {change}"


def check_signature_headers(connector: Connector) -> None:
    """A missing or malformed signature is a SignatureError, never another exception."""
    for sample in own_samples(connector):
        headers = signed(connector, sample)
        added = [name for name in headers if name not in lowered(sample.headers)]
        bare = {name: value for name, value in headers.items() if name not in added}
        assert added, f"{sample.name}: sign adds no header"
        assert refuses(connector, bare, sample.body), f"{sample.name}: passes unsigned"
        needed = [
            name
            for name in added
            if refuses(connector, {key: headers[key] for key in headers if key != name}, sample.body)
        ]
        assert needed, f"{sample.name}: no single header is needed"
        for name in needed:
            good = headers[name]
            for bad in (
                "",
                " ",
                "nonsense",
                "é" * 64,
                good[:-1],
                good + "0",
                "z" * len(good),
                good[::-1],
                "\x00",
            ):
                found = {**headers, name: bad}
                assert bad == good or refuses(connector, found, sample.body), (
                    f"{sample.name}: {name} = {bad!r} passes"
                )


def check_expected_events(connector: Connector) -> None:
    """Every sample gives the outcome and the events that stand beside it."""
    for sample in own_samples(connector):
        assert sample.expected is not None, f"{sample.name} has no {sample.name}.expected.json"
        wanted = {name: value for name, value in sample.expected.items() if name != "identity"}
        assert describe_sample(connector, sample) == wanted, sample.name


def check_identifiers_repeat(connector: Connector) -> None:
    """Reading a delivery again gives the same identifiers; two facts of one delivery never share one."""
    for sample in own_samples(connector):
        first, second = describe_sample(connector, sample), describe_sample(connector, sample)
        assert first == second, sample.name
        ids = [event["id"] for event in first["events"]]
        assert len(ids) == len(set(ids)), f"{sample.name}: two events share an id"
        if first["outcome"] != "unreadable":
            keys = {
                connector.normalise(sample.request, identity=identity).delivery_key
                for identity in (sample.identity, Identity())
            }
            assert len(keys) == 1, f"{sample.name}: the delivery key depends on who we are"
            assert keys != {""}, f"{sample.name}: the delivery key is empty"


def check_events_are_valid(connector: Connector) -> None:
    """Sealed events keep the public schema: `seal` itself does not validate, for speed."""
    for sample in own_samples(connector):
        assert_valid(connector, sample)


def assert_valid(connector: Connector, sample: Sample) -> None:
    """The outcome and events of one sample hang together."""
    normalised = connector.normalise(sample.request, identity=sample.identity)
    with_events = normalised.outcome in {Outcome.HANDLED, Outcome.UNSUPPORTED}
    assert bool(normalised.facts) == with_events, f"{sample.name}: {normalised.outcome}, {normalised.facts}"
    if normalised.outcome in {Outcome.IGNORED, Outcome.UNSUPPORTED}:
        assert normalised.reason, f"{sample.name}: {normalised.outcome} without a reason"
    assert (normalised.reply is not None) == (normalised.outcome is Outcome.CHALLENGE), sample.name
    for fact in normalised.facts:
        event = seal(
            fact,
            source=connector.source,
            connection=CONNECTION,
            payload=normalised.payload,
            received_at=RECEIVED_AT,
        )
        again = Event.model_validate_json(event.model_dump_json())
        assert again == event, sample.name
        assert again.data.kind in KINDS, sample.name
        assert again.data.actor.trust in TRUSTS, sample.name
        assert 1 <= len(again.subject) <= 500, sample.name
        assert fact.kind == "other" or normalised.outcome is Outcome.HANDLED, sample.name
        assert again.time.tzinfo is not None, sample.name


def check_own_events(connector: Connector) -> None:
    """What we caused ourselves is known as ours, and only by identifiers that somebody gave."""
    told = [
        event["data"]["actor"]
        for sample in own_samples(connector)
        for event in describe_sample(connector, sample)["events"]
    ]
    if connector.outputs:  # who cannot post causes no events
        assert any(actor["is_self"] for actor in told), (
            f"{connector.source} has no sample of an event of our own"
        )
    assert any(not actor["is_self"] for actor in told), f"{connector.source} takes every event for its own"


def check_folder(connector: Connector) -> None:
    """The folder is named after the source and tells how to set it up, with a rule that is valid YAML."""
    place = folder(connector)
    assert place.name == connector.source
    readme = place / "README.md"
    assert readme.is_file(), f"{connector.source} has no README.md"
    text = readme.read_text(encoding="utf-8")
    blocks = text.split("```yaml\n")[1:]
    rules = [yaml.safe_load(block.partition("```")[0]) for block in blocks]
    assert any(rule for rule in rules), f"the README of {connector.source} shows no rule in a yaml block"
    assert 0 < connector.max_body <= 50_000_000


def check_outputs(connector: Connector) -> None:
    """Every output can be offered to an agent as a tool, and every source can comment, unless it only receives."""
    if not connector.outputs:
        check_posts_nothing(connector)
        return
    assert "comment" in connector.outputs, f"{connector.source} has no output comment"
    for name, spec in connector.outputs.items():
        assert spec.description.strip(), name
        spec.target.model_json_schema()
        schema = json.loads(json.dumps(spec.arguments.model_json_schema()))
        assert schema["type"] == "object", name
        assert schema["additionalProperties"] is False, f"{name}: its arguments take unknown fields"
    arguments = connector.outputs["comment"].arguments
    assert list(arguments.model_fields) == ["text"], connector.source
    arguments.model_validate({"text": "Done."})
    with pytest.raises(ValidationError):
        arguments.model_validate({"text": "Done.", "channel": "elsewhere"})


def check_posts_nothing(connector: Connector) -> None:
    """A source without outputs takes no token, and asks nobody who it is."""
    base = {"source": connector.source, "webhook_secrets": ("env:A",)}
    settings = connector.settings.model_validate(base)
    with pytest.raises(ValidationError, match="token"):
        connector.settings.model_validate({**base, "token": "env:T"})

    def called(request: httpx.Request) -> httpx.Response:
        raise AssertionError(f"{connector.source} called {request.url}")

    async def ask() -> Identity:
        async with httpx.AsyncClient(transport=httpx.MockTransport(called)) as http:
            return await connector.poster(settings, token=None, http=http, files={}).identify()

    assert asyncio.run(ask()) == Identity()


CHECKS: Final[tuple[Callable[[Connector], None], ...]] = (
    check_signatures,
    check_signature_headers,
    check_expected_events,
    check_identifiers_repeat,
    check_events_are_valid,
    check_own_events,
    check_folder,
    check_outputs,
)

"""The Sentry connector: ties verifying, normalising and posting to the contract. Imports nothing slow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import httpx

from connectors.base import ConnectionSettings, Connector, Identity, Normalised, Request, UnreadableError
from connectors.body import read_object
from connectors.healer import Healer
from connectors.poster import OutputSpec, Poster, PostRefusedError
from connectors.sentry import verify
from connectors.sentry.normalise import RESOURCE_HEADER, normalise
from connectors.sentry.outputs import OUTPUTS, OWN_OUTPUTS
from connectors.sentry.payloads import infer_resource
from connectors.sentry.settings import SentrySettings


class SentryConnector(Connector):
    """Webhooks of Sentry's integration platform."""

    source: ClassVar[str] = "sentry"
    settings: ClassVar[type[ConnectionSettings]] = SentrySettings
    outputs: ClassVar[Mapping[str, OutputSpec]] = OUTPUTS
    own_outputs: ClassVar[Mapping[str, OutputSpec]] = OWN_OUTPUTS
    web_hosts: ClassVar[tuple[str, ...]] = ("sentry.io", "*.sentry.io")

    def verify(self, request: Request, *, secrets: Sequence[str], now: float) -> None:  # noqa: ARG002 - the timestamp is not signed
        verify.verify(request, secrets=secrets)

    def normalise(self, request: Request, *, identity: Identity) -> Normalised:
        return normalise(request, identity=identity)

    def sign(self, headers: Mapping[str, str], body: bytes, *, secret: str, now: float) -> dict[str, str]:
        """Adds the resource header too where it is missing and the body shows it, so that any body can be
        sent."""
        signed = verify.sign(headers, body, secret=secret, now=now)
        if RESOURCE_HEADER not in signed:
            try:
                resource = infer_resource(read_object(body))
            except UnreadableError:
                resource = None
            if resource is not None:
                signed[RESOURCE_HEADER] = resource
        return signed

    def poster(
        self,
        settings: ConnectionSettings,
        *,
        token: str | None,
        http: httpx.AsyncClient,
        files: Mapping[str, str],  # noqa: ARG002 - a Sentry connection has no further secrets
    ) -> Poster:
        from connectors.sentry.poster import SentryPoster  # noqa: PLC0415 - only posting needs it

        if not isinstance(settings, SentrySettings):
            msg = f"a Sentry connection needs SentrySettings, not {type(settings).__name__}"
            raise PostRefusedError(msg)
        return SentryPoster(settings, token=token, http=http)

    def healer(
        self,
        settings: ConnectionSettings,
        *,
        token: str | None,
        http: httpx.AsyncClient,
        files: Mapping[str, str],  # noqa: ARG002 - see poster
    ) -> Healer:
        """Issues and alerts that no webhook told of: see `healing.SentryHealer`."""
        from connectors.sentry.healing import SentryHealer  # noqa: PLC0415 - only the search for gaps needs it

        if not isinstance(settings, SentrySettings):
            msg = f"a Sentry connection needs SentrySettings, not {type(settings).__name__}"
            raise PostRefusedError(msg)
        return SentryHealer(settings, token=token, http=http)


CONNECTOR = SentryConnector()

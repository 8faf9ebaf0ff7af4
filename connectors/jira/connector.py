"""The Jira connector's one object. Cheap to import: what only posting needs is imported when a poster is
built.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import httpx

from connectors.base import ConnectionSettings, Connector, Identity, Normalised, Request
from connectors.healer import Healer
from connectors.jira import normalise as reading
from connectors.jira import verify as proof
from connectors.jira.outputs import OUTPUTS, OWN_OUTPUTS
from connectors.jira.settings import JiraSettings
from connectors.poster import OutputSpec, Poster


class JiraConnector(Connector):
    """Jira Cloud and Data Center."""

    source: ClassVar[str] = "jira"
    settings: ClassVar[type[ConnectionSettings]] = JiraSettings
    outputs: ClassVar[Mapping[str, OutputSpec]] = OUTPUTS
    own_outputs: ClassVar[Mapping[str, OutputSpec]] = OWN_OUTPUTS

    def verify(self, request: Request, *, secrets: Sequence[str], now: float) -> None:
        """See `verify.check`: four kinds of proof, the strongest present decides."""
        proof.check(request, secrets=secrets, now=now)

    def normalise(self, request: Request, *, identity: Identity) -> Normalised:
        """See `normalise.normalise`."""
        return reading.normalise(request, identity=identity)

    def sign(self, headers: Mapping[str, str], body: bytes, *, secret: str, now: float) -> dict[str, str]:  # noqa: ARG002
        """Sign as an admin webhook with a secret does. The scheme knows no time, so `now` is not used."""
        return proof.signed(headers, body, secret=secret)

    def poster(
        self,
        settings: ConnectionSettings,
        *,
        token: str | None,
        http: httpx.AsyncClient,
        files: Mapping[str, str],
    ) -> Poster:
        """Build the poster. Jira's settings name no further secrets, so `files` stays unread."""
        from connectors.jira.poster import JiraPoster  # noqa: PLC0415 - the Markdown converters are not needed to read webhooks

        del files
        return JiraPoster(JiraSettings.model_validate(settings.model_dump()), token=token, http=http)

    def healer(
        self,
        settings: ConnectionSettings,
        *,
        token: str | None,
        http: httpx.AsyncClient,
        files: Mapping[str, str],
    ) -> Healer:
        """What no webhook told of, by search: see `healing.JiraHealer`."""
        from connectors.jira.healing import JiraHealer  # noqa: PLC0415 - reading webhooks needs none of it

        del files
        return JiraHealer(JiraSettings.model_validate(settings.model_dump()), token=token, http=http)


CONNECTOR = JiraConnector()

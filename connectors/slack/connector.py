"""The Slack connector: ties the pure parts together. Holds no state, and loads the posting side only when
it is asked to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from connectors.base import ConnectionSettings, Connector, Identity, Normalised, Request
from connectors.healer import Healer
from connectors.poster import OutputSpec, Poster
from connectors.slack.normalise import normalise
from connectors.slack.outputs import OUTPUTS, OWN_OUTPUTS
from connectors.slack.settings import SlackSettings
from connectors.slack.verify import sign, verify

if TYPE_CHECKING:
    import httpx


class SlackConnector(Connector):
    """Events API, slash commands and interactivity in; chat and reactions out."""

    source: ClassVar[str] = "slack"
    settings: ClassVar[type[ConnectionSettings]] = SlackSettings
    outputs: ClassVar[Mapping[str, OutputSpec]] = OUTPUTS
    own_outputs: ClassVar[Mapping[str, OutputSpec]] = OWN_OUTPUTS
    web_hosts: ClassVar[tuple[str, ...]] = ("slack.com", "*.slack.com")

    def verify(self, request: Request, *, secrets: Sequence[str], now: float) -> None:
        verify(request, secrets=secrets, now=now)

    def normalise(self, request: Request, *, identity: Identity) -> Normalised:
        return normalise(request, identity=identity)

    def sign(self, headers: Mapping[str, str], body: bytes, *, secret: str, now: float) -> dict[str, str]:
        return sign(headers, body, secret=secret, now=now)

    def poster(
        self,
        settings: ConnectionSettings,
        *,
        token: str | None,
        http: httpx.AsyncClient,
        files: Mapping[str, str],  # noqa: ARG002 - a Slack connection has no further secrets
    ) -> Poster:
        from connectors.slack.api import SlackApi  # noqa: PLC0415 - reading events must not pay for the Markdown parser
        from connectors.slack.poster import SlackPoster  # noqa: PLC0415 - the same

        api = SlackApi(api_url=settings.api_url, token=token, http=http)
        return SlackPoster(api, self_ids=settings.self_ids)

    def healer(
        self,
        settings: ConnectionSettings,
        *,
        token: str | None,
        http: httpx.AsyncClient,
        files: Mapping[str, str],  # noqa: ARG002 - see poster
    ) -> Healer:
        """Messages that no event told of, by history: see `healing.SlackHealer`."""
        from connectors.slack.api import SlackApi  # noqa: PLC0415 - reading events needs none of it
        from connectors.slack.healing import SlackHealer  # noqa: PLC0415 - the same

        return SlackHealer(SlackApi(api_url=settings.api_url, token=token, http=http))


CONNECTOR = SlackConnector()

"""What the gate knows of this hub: its secrets, and the hosts that text may link to. Follows the configuration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from hub.configuration import LiveConnection
from hub.settings import Settings
from schemas.policy.gate import Facts


def facts_of(live: Mapping[str, LiveConnection], *, further: Iterable[str] = ()) -> Facts:
    """From the connections in force. `further`: secrets of the process itself."""
    secrets = {value for one in live.values() for value in (*one.files.values(), *one.webhook_secrets)}
    return Facts(
        secrets=frozenset({*secrets, *further}),
        hosts=frozenset(host for one in live.values() for host in hosts_of(one)),
    )


def hosts_of(one: LiveConnection) -> set[str]:
    """The vendor's pages, and the host that is called."""
    host = (urlsplit(one.settings.api_url).hostname or "").lower()
    return {*one.connector.web_hosts, host.removeprefix("api.")} - {""}


def own_secrets(settings: Settings) -> list[str]:
    """Secrets that are settings of the process."""
    found = [
        value.get_secret_value()
        for value in (settings.anthropic_api_key, settings.api_token, settings.kafka_password)
        if value is not None
    ]
    password = urlsplit(settings.database_url).password
    return [*found, *([password] if password else [])]

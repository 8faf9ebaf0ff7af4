"""Loading the configuration with every connector's models, and turning connections into live ones.

Reads files and the environment; opens no connection.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from connectors.base import ConnectionSettings, Connector, Identity
from connectors.ingress import Inbound
from connectors.outbox import Outbound
from connectors.registry import all_connectors, connector
from hub.secrets import SecretError, references, resolve
from router.engine import RuleSet
from router.loading import load
from schemas.config import Config
from schemas.redaction import keep_secret

VendorCheck = Callable[[str, Any], list[str]]


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration that was accepted."""

    config: Config
    rules: RuleSet


def load_configuration(
    path: Path,
    *,
    check_agent: VendorCheck | None = None,
    check_environment: VendorCheck | None = None,
    check_part: VendorCheck | None = None,
) -> Loaded:
    """Read `path`. Raises router.problems.ConfigError with every problem at once."""
    known = {found.source: found for found in all_connectors()}
    config, rules = load(
        path,
        connection_models={source: found.settings for source, found in known.items()},
        output_specs={source: found.outputs for source, found in known.items()},
        check_agent=check_agent,
        check_environment=check_environment,
        check_part=check_part,
    )
    return Loaded(config, rules)


@dataclass(frozen=True, slots=True)
class LiveConnection:
    """A connection with its secrets."""

    name: str
    connector: Connector
    settings: ConnectionSettings
    webhook_secrets: tuple[str, ...]
    token: str | None
    files: Mapping[str, str]


def live_connections(
    config: Config, *, environment: Mapping[str, str] | None = None
) -> dict[str, LiveConnection]:
    """Resolve every connection's secrets. Raises SecretError naming every one that is missing."""
    found: dict[str, LiveConnection] = {}
    missing: list[str] = []
    for name, raw in config.connections.items():
        settings = connector(str(raw["source"])).settings.model_validate(raw)
        values: dict[str, str] = {}
        for reference in dict.fromkeys(references(dict(raw))):
            try:
                values[reference] = resolve(reference, environment=environment, where=f"connection {name}")
            except SecretError as error:
                missing.append(str(error))
        keep_secret(values.values())
        if missing:
            continue
        found[name] = LiveConnection(
            name=name,
            connector=connector(settings.source),
            settings=settings,
            webhook_secrets=tuple(values[reference] for reference in settings.webhook_secrets),
            token=values.get(settings.token) if settings.token else None,
            files=values,
        )
    if missing:
        raise SecretError("\n".join(missing))
    return found


def inbound_of(live: Mapping[str, LiveConnection]) -> dict[str, Inbound]:
    """What the ingress needs. The identity is what the configuration declares, until the vendor was asked."""
    return {
        name: Inbound(
            name=name,
            connector=one.connector,
            secrets=one.webhook_secrets,
            identity=declared_identity(one.settings),
        )
        for name, one in live.items()
    }


def declared_identity(settings: ConnectionSettings) -> Identity:
    """Who we are by the configuration."""
    return Identity(
        actor_ids=frozenset(settings.self_ids),
        logins=frozenset(login.lower() for login in settings.self_logins),
    )


def outbound_of(live: Mapping[str, LiveConnection], http: httpx.AsyncClient) -> dict[str, Outbound]:
    """What the poster needs: one poster for each connection that has a credential."""
    return {
        name: Outbound(
            name=name,
            connector=one.connector,
            poster=one.connector.poster(one.settings, token=one.token, http=http, files=one.files),
            healer=None
            if one.settings.heal == "off"
            else one.connector.healer(one.settings, token=one.token, http=http, files=one.files),
            heals_all=one.settings.heal == "all",
            declared=declared_identity(one.settings),
        )
        for name, one in live.items()
        if one.token is not None or getattr(one.settings, "app", None) is not None
    }

"""Taking over a changed configuration while the hub runs: rules, definitions and connections, no restart.

Looks at the files every second. What is broken is reported and changes nothing: the last good one stays.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpx
import structlog

from connectors.base import Identity
from connectors.outbox import Outbound
from connectors.poster import PostError
from hub.configuration import (
    LiveConnection,
    Loaded,
    declared_identity,
    inbound_of,
    live_connections,
    outbound_of,
)
from hub.hub import IDENTIFY_AGAIN_SECONDS
from hub.logs import keep_secret
from hub.roles import definitions_of, stored_of
from hub.secrets import SecretError, references
from router.loading import SUFFIXES
from router.problems import ConfigError
from schemas.config import Config

if TYPE_CHECKING:
    from hub.parts import Parts

log = structlog.get_logger(__name__)

LOOK_SECONDS: Final = 1.0
SETTLE_SECONDS: Final = 0.2
"""An editor may write a file in several steps: it is read when it has not changed for so long."""

Signature = tuple[tuple[str, int, int, int], ...]


class Reload:
    """Watches one configuration for one running hub."""

    def __init__(
        self,
        path: Path,
        load: Callable[[Path], Loaded],
        *,
        environment: Mapping[str, str] | None = None,
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        self._path = path
        self._load = load
        self._environment = environment
        self._look_seconds = look_seconds
        self._identifying: dict[str, asyncio.Task[None]] = {}

    async def watch(self, parts: Parts) -> None:
        """For `running_hub(watch=…)`: runs until cancelled. Never raises for a broken configuration."""
        seen = await asyncio.to_thread(self._signature, parts.loaded.config)
        async with (
            parts.clocks.client() as http,
            asyncio.TaskGroup() as tasks,
        ):
            while True:
                await asyncio.sleep(self._look_seconds)
                now = await asyncio.to_thread(self._signature, parts.loaded.config)
                if now == seen:
                    continue
                seen = await self._settled(now, parts.loaded.config)
                loaded = await self._loaded()
                if loaded is None:
                    continue
                self._take(parts, loaded, http, tasks)
                # The new configuration may name other secret files.
                seen = await asyncio.to_thread(self._signature, loaded.config)

    async def _settled(self, before: Signature, config: Config) -> Signature:
        while True:
            await asyncio.sleep(SETTLE_SECONDS)
            now = await asyncio.to_thread(self._signature, config)
            if now == before:
                return now
            before = now

    async def _loaded(self) -> Loaded | None:
        try:
            return await asyncio.to_thread(self._load, self._path)
        except ConfigError as error:
            log.error(  # noqa: TRY400 - the problems say it all
                "the changed configuration is broken; the last good one stays in force",
                config=str(self._path),
                problems=[str(problem) for problem in error.problems],
            )
            return None
        except Exception:
            log.exception("the changed configuration could not be read; the last good one stays in force")
            return None

    def _take(self, parts: Parts, loaded: Loaded, http: httpx.AsyncClient, tasks: asyncio.TaskGroup) -> None:
        """Everything at once, without waiting in between: no event sees half a configuration."""
        before = set(parts.live)
        posts = bool(parts.roles & {"poster", "runner", "ingress"})
        changed, outbound = self._resolved(parts, loaded.config, http if posts else None)
        gone = before - set(loaded.config.connections)
        parts.rules.current = loaded.rules
        if parts.catalogue is not None:
            parts.catalogue.definitions = definitions_of(loaded.config)
        if parts.stores is not None:
            parts.stores.stored = stored_of(loaded.config)
        for name in gone:
            parts.live.pop(name, None)
            parts.inbound.pop(name, None)
            parts.outbound.pop(name, None)
            self._forget(name)
        for name, inbound in inbound_of(changed).items():
            known = parts.inbound.get(name)
            if known is not None:
                # Until the vendor was asked again, who we were is still us, or our own posts would loop.
                inbound.identity = _both(known.identity, inbound.identity)
            parts.live[name] = changed[name]
            parts.inbound[name] = inbound
            parts.outbound.pop(name, None)
        parts.outbound.update(outbound)
        parts.loaded = loaded
        for name in outbound:
            self._forget(name)
            self._identifying[name] = tasks.create_task(self._identify(parts, name), name=f"identify-{name}")
        for warning in loaded.rules.warnings:
            log.warning("the configuration is odd", problem=str(warning))
        log.info(
            "the configuration was loaded again",
            rules=len(loaded.rules),
            connections_added=sorted(set(changed) - before),
            connections_changed=sorted(set(changed) & before),
            connections_removed=sorted(gone),
        )

    def _resolved(
        self, parts: Parts, config: Config, http: httpx.AsyncClient | None
    ) -> tuple[dict[str, LiveConnection], dict[str, Outbound]]:
        """Connections that are new or differ, secrets resolved, and their posters (none without `http`).

        One that cannot be used stays as it was.
        """
        found: dict[str, LiveConnection] = {}
        outbound: dict[str, Outbound] = {}
        for name, raw in config.connections.items():
            alone = config.model_copy(update={"connections": {name: raw}})
            kept = "its former settings stay in force" if name in parts.live else "it is not served"
            try:
                live = live_connections(alone, environment=self._environment)
                if live[name] == parts.live.get(name):
                    continue
                keep_secret((*live[name].files.values(), *live[name].webhook_secrets))
                outbound |= outbound_of(live, http) if http is not None else {}
            except SecretError as error:
                log.error("a connection cannot be used", connection=name, reason=str(error), so=kept)  # noqa: TRY400
                continue
            except Exception as error:  # noqa: BLE001 - such as a private key that is none: no reason to stop the hub
                reason = f"its credential cannot be used ({type(error).__name__})"
                log.error("a connection cannot be used", connection=name, reason=reason, so=kept)  # noqa: TRY400
                continue
            found |= live
        return found, outbound

    async def _identify(self, parts: Parts, name: str) -> None:
        """Ask the vendor who we are, until it answers."""
        while (outbound := parts.outbound.get(name)) is not None:
            try:
                identity = await outbound.poster.identify()
            except PostError as error:
                log.warning("the vendor did not say who we are", connection=name, reason=str(error))
                await asyncio.sleep(IDENTIFY_AGAIN_SECONDS)
                continue
            inbound, live = parts.inbound.get(name), parts.live.get(name)
            if inbound is not None and live is not None and parts.outbound.get(name) is outbound:
                inbound.identity = _both(declared_identity(live.settings), identity)
            return

    def _forget(self, name: str) -> None:
        task = self._identifying.pop(name, None)
        if task is not None:
            task.cancel()

    def _signature(self, config: Config) -> Signature:
        """What changes when a file of the configuration, or a file with a secret, is written. Blocks."""
        paths = [self._path, *_yaml_files(self._path), *_secret_files(config)]
        return tuple(_stamp(path) for path in paths)


def _both(one: Identity, other: Identity) -> Identity:
    return Identity(actor_ids=one.actor_ids | other.actor_ids, logins=one.logins | other.logins)


def _yaml_files(path: Path) -> list[Path]:
    if not path.is_dir():
        return []
    try:
        return sorted(file for file in path.iterdir() if file.suffix in SUFFIXES)
    except OSError:
        return []


def _secret_files(config: Config) -> Iterator[Path]:
    raw: Any = config.connections
    for reference in sorted(set(references(raw))):
        kind, _, name = reference.partition(":")
        if kind == "file":
            yield Path(name).expanduser()


def _stamp(path: Path) -> tuple[str, int, int, int]:
    """Inode as well as time: a mounted secret is replaced by swapping a link."""
    try:
        found = os.stat(path)  # noqa: PTH116 - follows links, and is the whole of it
    except OSError:
        return (str(path), 0, 0, 0)
    return (str(path), found.st_mtime_ns, found.st_size, found.st_ino)

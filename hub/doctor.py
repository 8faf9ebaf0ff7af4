"""Looking whether everything that a hub needs is there: one finding per thing, each with what to do.

Leaves nothing behind and shows no secret. Each check stands alone: where one fails, the others still tell.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Never

import anthropic
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from alembic.script import ScriptDirectory
from faststream.kafka.security import parse_security
from sqlalchemy import Connection, make_url, text

from connectors.poster import PostError
from hub import checks, processes
from hub.broker import security
from hub.clocks import Clocks
from hub.configuration import LiveConnection, Loaded, live_connections, outbound_of
from hub.embedded_broker import BrokerMissingError, broker_binary
from hub.explaining import broker_reason, database_reason, is_database_error, shown_database
from hub.gating import own_secrets
from hub.habits import remarks
from hub.secrets import SecretError
from hub.settings import Settings
from hub.vault_secrets import missing_secrets
from runner.service import make_client
from schemas.redaction import keep_secret
from storage import migrate
from storage.clock import read_clock
from storage.database import Database, open_database

KAFKA_MILLISECONDS: Final = 5000
UNAUTHORIZED: Final = frozenset({401, 403})


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    state: Literal["ok", "warn", "fail"]
    about: str
    detail: str
    """What was found; what to do, unless all is well."""


async def examine(settings: Settings, loaded: Loaded | None, *, offline: bool) -> AsyncIterator[Finding]:
    """All beyond settings and configuration, in order. `offline` asks neither vendors nor Anthropic."""
    keep_secret(own_secrets(settings))
    live: dict[str, LiveConnection] = {}
    if loaded is not None:
        live, findings = secrets_of(loaded)
        for finding in findings:
            yield finding
    clocks = Clocks()
    async for finding in database(settings, clocks):
        yield finding
    for finding in await habits(settings, live):
        yield finding
    yield await broker(settings)
    if not offline:
        async for finding in tokens(live, clocks):
            yield finding
    yield await anthropic_key(settings, clocks, offline=offline)
    yield clock(clocks)
    yield api_token(settings)


def secrets_of(loaded: Loaded) -> tuple[dict[str, LiveConnection], list[Finding]]:
    """The connections whose secrets can be found, and what was found of each."""
    live: dict[str, LiveConnection] = {}
    findings: list[Finding] = []
    for name, raw in loaded.config.connections.items():
        alone = loaded.config.model_copy(update={"connections": {name: raw}})
        try:
            live |= live_connections(alone)
        except SecretError as error:
            findings += [Finding("fail", "secret", line) for line in str(error).splitlines()]
        else:
            findings.append(Finding("ok", "secrets", f"connection {name}: all are set"))
    if loaded.config.vaults:
        missing = missing_secrets(loaded.config)
        findings += [Finding("fail", "secret", line) for line in missing]
        findings += [] if missing else [Finding("ok", "secrets", "vaults: all are set")]
    for name, file in loaded.config.files.items():
        if file.path is not None and not Path(file.path).is_file():
            msg = f"{name}: there is no file {file.path}; correct its path, or bring it to each runner"
            findings.append(Finding("fail", "file", msg))
    return live, findings


async def database(settings: Settings, clocks: Clocks) -> AsyncIterator[Finding]:
    """Reachable, at which schema, writable; and what the processes that share it say of themselves."""
    url = settings.database_url
    shown = shown_database(url)
    if settings.sqlite and (finding := _missing_file(url, shown)) is not None:
        yield finding
        return
    try:
        opened = open_database(url)
    except ValueError as error:
        yield Finding("fail", "database", str(error))
        return
    try:
        current = await opened.read(migrate.current)
        yield _schema(current, shown)
        yield await _writable(opened, shown)
        if not settings.sqlite:
            before = time.time()
            there = await opened.read(read_clock)
            clocks.saw_database(there, before=before, after=time.time())
        if current == migrate.head():
            for state, about, detail in await opened.read(processes.findings, settings=settings):
                yield Finding(state, about, detail)
    except Exception as error:
        if not is_database_error(error) and not isinstance(error, OSError):
            raise
        yield Finding("fail", "database", database_reason(error, url))
    finally:
        await opened.close()


def _missing_file(url: str, shown: str) -> Finding | None:
    path = Path(make_url(url).database or "")
    if path.is_file():
        return None
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    try:
        tempfile.TemporaryFile(dir=folder).close()  # permission bits do not tell of read-only file systems
    except OSError as error:
        reason = f"nothing can be written in {folder} ({error.strerror})"
        detail = f"{shown} cannot be made: {reason}; change that, or set TRIGGERHUB_DATABASE_URL"
        return Finding("fail", "database", detail)
    return Finding("ok", "database", f"{shown} is not there yet; the first start makes it")


def _schema(current: str | None, shown: str) -> Finding:
    newest = migrate.head()
    if current == newest:
        return Finding("ok", "database", f"{shown} answers, schema {current} is the newest")
    if current is None:
        return Finding("ok", "database", f"{shown} answers and is empty; the first start makes the schema")
    known = {
        script.revision for script in ScriptDirectory.from_config(migrate.configuration()).walk_revisions()
    }
    if current in known:
        detail = f"{shown} is at schema {current}; the next start brings it to {newest}: make a copy first"
        return Finding("warn", "database", detail)
    detail = (
        f"{shown} is at schema {current}, made by a newer triggerhub; install that one, or another database"
    )
    return Finding("fail", "database", detail)


class _UndoneError(Exception):
    """Ends a trial transaction, so that nothing of it stays."""


def _try_writing(connection: Connection) -> Never:
    connection.execute(text("CREATE TABLE triggerhub_doctor (trial INTEGER)"))
    raise _UndoneError


async def _writable(opened: Database, shown: str) -> Finding:
    try:
        await opened.write(_try_writing)
    except _UndoneError:
        return Finding("ok", "database", f"{shown} takes writes")


def clock(clocks: Clocks) -> Finding:
    """This machine's clock, beside those of whoever was asked."""
    check = checks.clock(clocks.differences())
    return Finding("warn" if check.warn else "ok" if check.ok else "fail", "clock", check.detail)


async def habits(settings: Settings, live: dict[str, LiveConnection]) -> list[Finding]:
    """What the database knows of gaps that cannot be closed, silent connections and broken credentials."""
    if settings.sqlite and _missing_file(settings.database_url, "") is not None:
        return []
    try:
        opened = open_database(settings.database_url)
    except ValueError:
        return []  # told above
    try:
        return [Finding(one.state, one.about, one.detail) for one in await remarks(opened, set(live))]
    except Exception as error:
        if not is_database_error(error) and not isinstance(error, OSError):
            raise
        return []  # told above
    finally:
        await opened.close()


async def broker(settings: Settings) -> Finding:
    """The binary of the embedded one, or an answer of Kafka."""
    if settings.embedded_broker:
        try:
            return Finding("ok", "broker", f"embedded, {broker_binary()}")
        except BrokerMissingError as error:
            return Finding("fail", "broker", str(error))
        except (OSError, RuntimeError) as error:
            detail = f"the embedded broker cannot be used ({type(error).__name__}); use an Apache Kafka"
            return Finding("fail", "broker", detail)
    admin = AIOKafkaAdminClient(
        bootstrap_servers=settings.bootstrap_servers,
        request_timeout_ms=KAFKA_MILLISECONDS,
        **parse_security(security(settings)),
    )
    try:
        await admin.start()
        topics = await admin.list_topics()
    except (KafkaError, OSError, TimeoutError) as error:
        return Finding("fail", "broker", broker_reason(error, settings))
    finally:
        await admin.close()
    ours = sum(topic.startswith("triggerhub.") for topic in topics)
    return Finding(
        "ok", "broker", f"Kafka at {settings.kafka_bootstrap_servers} answers, {ours} topics of ours"
    )


async def tokens(live: dict[str, LiveConnection], clocks: Clocks) -> AsyncIterator[Finding]:
    """Who each connection's credential is, by its vendor."""
    async with clocks.client() as http:
        for name, connection in live.items():
            try:
                outbound = outbound_of({name: connection}, http).get(name)
                identity = await outbound.poster.identify() if outbound is not None else None
            except PostError as error:
                yield Finding("fail", "token", f"connection {name}: {error}")
                continue
            except Exception as error:  # noqa: BLE001 - such as a private key that is none
                detail = (
                    f"connection {name}: its credential cannot be used ({type(error).__name__}); check it"
                )
                yield Finding("fail", "token", detail)
                continue
            if identity is None and not connection.connector.outputs:
                yield Finding("ok", "token", f"connection {name} only receives, and needs no token")
                continue
            if identity is None:
                yield Finding(
                    "warn", "token", f"connection {name} has no token: it receives, but cannot post"
                )
                continue
            ids = ", ".join(sorted(identity.logins | identity.actor_ids)) or "somebody without an id"
            yield Finding(
                "ok", "token", f"connection {name}: {connection.settings.api_url} knows us as {ids}"
            )


async def anthropic_key(settings: Settings, clocks: Clocks, *, offline: bool) -> Finding:
    """Whether the key may list agents: the least that a runner needs."""
    key = settings.anthropic_api_key.get_secret_value() if settings.anthropic_api_key else ""
    if not key:
        detail = "ANTHROPIC_API_KEY is not set; set it to a key of the workspace whose agents shall run"
        return Finding("fail", "anthropic", detail)
    if offline:
        return Finding("ok", "anthropic", "ANTHROPIC_API_KEY is set (not tried: --offline)")
    where = settings.anthropic_base_url or "https://api.anthropic.com"
    client = make_client(
        api_key=key, base_url=settings.anthropic_base_url, max_connections=1, on_date=clocks.saw_service
    )
    try:
        await client.beta.agents.list(limit=1)
    except anthropic.APIStatusError as error:
        status = error.status_code
        todo = "make a new key" if status in UNAUTHORIZED else "try again later"
        return Finding("fail", "anthropic", f"{where} answered {status} to listing agents; {todo}")
    except anthropic.AnthropicError as error:
        detail = f"{where} does not answer ({type(error).__name__}); check the network and ANTHROPIC_BASE_URL"
        return Finding("fail", "anthropic", detail)
    finally:
        await client.close()
    return Finding("ok", "anthropic", f"{where} takes the key")


def api_token(settings: Settings) -> Finding:
    """Who may use the JSON API."""
    if settings.api_token is not None and settings.api_token.get_secret_value():
        return Finding("ok", "api", "TRIGGERHUB_API_TOKEN is set; the JSON API asks for it")
    return Finding("ok", "api", "TRIGGERHUB_API_TOKEN is not set; the JSON API answers this machine only")

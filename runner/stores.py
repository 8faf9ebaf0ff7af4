"""Vaults, memory stores and files of the configuration, made at the service once and kept as they are written.

Found again by name in their metadata (files by their content's hash); a secret is sent when it changed, and never
read back, logged or stored: what is kept is a keyed hash of it.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, Protocol

import structlog

from runner.catalogue import HASH_KEY, NAME_KEY, UnknownDefinitionError, content_hash
from runner.errors import RefusedError, UncertainError
from runner.store_service import StoreService
from schemas.dispatch import Dispatch
from schemas.values import SECRET_REFERENCE
from storage import credentials, remote_objects
from storage.database import Database
from storage.remote_objects import Remote

log = structlog.get_logger(__name__)

Kind = Literal["vault", "memory_store", "file"]
IMMUTABLE: Final = frozenset({"mcp_server_url", "secret_name"})
"""What tells credentials of a vault apart, and cannot change."""
OF_REFRESH: Final = frozenset({"refresh_token", "scope", "token_endpoint_auth"})
"""What of an OAuth refresh can change."""
MOST_BYTES: Final = 100_000_000
HASH_SHOWN: Final = 12


class Secrets(Protocol):
    """Secrets of the configuration. Raises LookupError, which names the reference and never a value."""

    def value(self, reference: str) -> str:
        """The secret behind `env:NAME` or `file:PATH`. Blocks."""
        ...

    def seal(self, text: str) -> str:
        """A hash of a text that nobody can guess back without the key of this installation."""
        ...


class NoSecrets:
    """Where no vault is defined."""

    def value(self, reference: str) -> str:
        msg = f"no secret can be had for {reference}"
        raise LookupError(msg)

    def seal(self, text: str) -> str:
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(slots=True)
class Stored:
    """The parts of the configuration that are kept here, by name and as written."""

    vaults: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    memory_stores: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    files: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


class StoreError(UnknownDefinitionError):
    """A vault, memory store or file cannot be used as it is written. The text is safe to show."""


class Stores:
    """Finds or makes them. One per process."""

    def __init__(
        self,
        service: StoreService,
        database: Database,
        stored: Stored,
        *,
        secrets: Secrets | None = None,
        settle: tuple[float, ...] = (0.0, 2.0),
    ) -> None:
        self._service = service
        self._database = database
        self.stored = stored
        """Replaced whole when the configuration is loaded again."""
        self._secrets = secrets or NoSecrets()
        self._settle = settle
        self._locks: dict[tuple[Kind, str], asyncio.Lock] = {}
        self._held: dict[tuple[Kind, str], Remote] = {}
        self._pins: dict[str, str] = {}
        """Ids of vaults that were made elsewhere, as far as they were written down."""
        self._read: dict[str, tuple[tuple[int, int], str]] = {}
        """Hash of each file by path, with the time and size it was read at."""

    async def parts(self, dispatch: Dispatch) -> dict[str, Any]:
        """What a session of this dispatch is created with: `vault_ids`, and `resources` beside the repositories.

        Raises ServiceError, UnknownDefinitionError.
        """
        found: dict[str, Any] = {}
        if dispatch.vaults:
            found["vault_ids"] = [await self.vault(name) for name in dispatch.vaults]
        resources: list[dict[str, Any]] = []
        for file in dispatch.files:
            mount = {"mount_path": file.mount_path} if file.mount_path else {}
            resources.append({"type": "file", "file_id": await self.file(file.name), **mount})
        for memory in dispatch.memory_stores:
            resource = {
                "type": "memory_store",
                "memory_store_id": await self.memory_store(memory.name),
                "access": memory.access,
            }
            if memory.instructions:
                resource["instructions"] = memory.instructions
            resources.append(resource)
        return {**found, **({"resources": resources} if resources else {})}

    async def vault(self, name: str) -> str:
        """Id of a vault, its credentials as they are written. Raises ServiceError, UnknownDefinitionError."""
        written = _find("vault", name, self.stored.vaults)
        if written.get("id"):
            return await self._pinned(name, str(written["id"]))
        wanted = [await self._resolved(name, one) for one in written.get("credentials") or ()]
        digest = content_hash({"credentials": [one.digest for one in wanted]})
        async with self._locks.setdefault(("vault", name), asyncio.Lock()):
            before = await self._known("vault", name)
            if before is not None and before.content_hash == digest:
                return before.remote_id
            vault = await self._ours(
                "vault", name, before, {"display_name": name, "metadata": {NAME_KEY: name}}
            )
            await self._credentials(name, vault.id, wanted)
            return await self._keep("vault", name, before, Remote(digest, vault.id, None))

    async def credential_changed(self, vault_id: str, credential_id: str) -> float | None:
        """When a credential was last changed, in seconds since the epoch. None: it is out of use. Raises ServiceError."""
        try:
            found = await self._service.credential(vault_id, credential_id)
        except RefusedError as error:
            if not error.gone:
                raise
            return None
        over = getattr(found, "archived_at", None) is not None
        return None if over else float(found.updated_at.timestamp())

    async def renewable(self, vault_id: str) -> list[str]:
        """Ids of a vault's credentials that expire and are renewed by the service. Empty where it is gone."""
        try:
            found = await self._service.credentials(vault_id)
        except RefusedError as error:
            if not error.gone:
                raise
            return []
        return [one.id for one in found if getattr(one.auth, "type", None) == "mcp_oauth"]

    async def still_works(self, vault_id: str, credential_id: str) -> bool | None:
        """Whether the service can use and renew an OAuth credential. None: it cannot tell. Raises ServiceError."""
        try:
            found = await self._service.validate_credential(vault_id, credential_id)
        except RefusedError:
            return None
        return {"valid": True, "invalid": False}.get(found.status)

    async def memory_store(self, name: str) -> str:
        """Id of a memory store. What is in it is the agents' own and is never touched."""
        written = _find("memory store", name, self.stored.memory_stores)
        if written.get("id"):
            return str(written["id"])
        params = {"name": name, "description": written.get("description") or ""}
        digest = content_hash(params)
        async with self._locks.setdefault(("memory_store", name), asyncio.Lock()):
            before = await self._known("memory_store", name)
            if before is not None and before.content_hash == digest:
                return before.remote_id
            marked = {**params, "metadata": {NAME_KEY: name, HASH_KEY: digest}}
            store = await self._ours("memory_store", name, before, marked)
            if _metadata(store).get(HASH_KEY) != digest:
                await self._service.update_memory_store(store.id, marked)
                log.info("memory store updated", memory_store=name, id=store.id)
            return await self._keep("memory_store", name, before, Remote(digest, store.id, None))

    async def file(self, name: str) -> str:
        """Id of a file, uploaded once for each content. Raises StoreError where it cannot be read."""
        written = _find("file", name, self.stored.files)
        if written.get("id"):
            return str(written["id"])
        path = Path(str(written["path"]))
        async with self._locks.setdefault(("file", name), asyncio.Lock()):
            digest = await asyncio.to_thread(self._hash, name, path)
            before = await self._known("file", name)
            if before is not None and before.content_hash == digest:
                return before.remote_id
            uploaded = f"{path.stem[:80]}-{digest[:HASH_SHOWN]}{path.suffix[:20]}"
            identifier = await self._service.find_file(uploaded)
            if identifier is None:
                content = await asyncio.to_thread(_content, name, path)
                if hashlib.sha256(content).hexdigest() != digest:
                    raise StoreError(
                        f"the file {name!r} was changed while it was read: it is tried again later"
                    )
                identifier = await self._service.upload_file(uploaded, content)
                log.info("file uploaded", file=name, id=identifier, bytes=len(content))
            return await self._keep("file", name, before, Remote(digest, identifier, None))

    async def forget_what_is_gone(self, dispatch: Dispatch) -> bool:
        """Look whether something of the dispatch is gone at the service; forget that, so that it is made anew."""
        gone = False
        names: list[tuple[Kind, str]] = [("vault", name) for name in dispatch.vaults]
        names += [("memory_store", one.name) for one in dispatch.memory_stores]
        names += [("file", one.name) for one in dispatch.files]
        for kind, name in names:
            held = await self._known(kind, name)
            if held is None or await self._service.exists(kind, held.remote_id):
                continue
            log.warning("it is gone at the service and is made anew", kind=kind, name=name)
            self._held.pop((kind, name), None)
            await self._database.write(remote_objects.forget, kind=kind, name=name, remote_id=held.remote_id)
            gone = True
        return gone

    # ----------------------------------------------------------------------------------------------------------------

    async def _pinned(self, name: str, vault_id: str) -> str:
        """Remember which vault is meant by the name: what becomes of its credentials is told by the id."""
        if self._pins.get(name) != vault_id:
            pin = Remote(vault_id, vault_id, None)
            await self._database.write(
                remote_objects.replace, kind=credentials.PINNED, name=name, before=None, after=pin
            )
            self._pins[name] = vault_id
        return vault_id

    async def _known(self, kind: Kind, name: str) -> Remote | None:
        held = self._held.get((kind, name))
        if held is None:
            held = await self._database.read(remote_objects.find, kind=kind, name=name)
        return held

    async def _keep(self, kind: Kind, name: str, before: Remote | None, mine: Remote) -> str:
        kept = await self._database.write(
            remote_objects.replace, kind=kind, name=name, before=before, after=mine
        )
        self._held[kind, name] = kept
        return kept.remote_id

    async def _ours(self, kind: Kind, name: str, before: Remote | None, params: dict[str, Any]) -> Any:
        """The one that we made under this name: known from before, else the oldest, else a new one."""
        known = before.remote_id if before is not None else None

        async def look() -> Any:
            ours = [one for one in await self._service.listed(kind) if _metadata(one).get(NAME_KEY) == name]
            return min(ours, key=lambda one: (one.id != known, one.created_at, one.id), default=None)

        found = await look()
        if found is not None:
            return found
        try:
            made = await self._service.create(kind, params)
        except UncertainError:
            for pause in self._settle:
                await asyncio.sleep(pause)
                found = await look()
                if found is not None:
                    return found
            raise
        log.info("made at the service", kind=kind, name=name, id=made.id)
        return made

    async def _resolved(self, vault: str, written: Mapping[str, Any]) -> _Credential:
        try:
            auth, sealed = await asyncio.to_thread(self._filled, written)
        except LookupError as error:
            raise StoreError(f"the vault {vault!r}: {error}") from None
        return _Credential(_key(written), auth, content_hash(sealed))

    def _filled(self, written: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """The credential with its secrets, and the same with their seals in their place. Blocks."""
        auth: dict[str, Any] = {}
        sealed: dict[str, Any] = {}
        for name, value in written.items():
            if isinstance(value, Mapping):
                auth[name], sealed[name] = self._filled(value)
            elif isinstance(value, str) and SECRET_REFERENCE.fullmatch(value):
                auth[name] = self._secrets.value(value)
                sealed[name] = self._secrets.seal(auth[name])
            else:
                auth[name] = sealed[name] = value
        return auth, sealed

    async def _credentials(self, vault: str, vault_id: str, wanted: Iterable[_Credential]) -> None:
        """Make the vault's credentials what is written. Those we made and that are written no more are archived."""
        standing = {_key(_plain(one.auth)): one for one in await self._service.credentials(vault_id)}
        for credential in wanted:
            name = f"{vault}/{credential.key}"
            before = await self._database.read(remote_objects.find, kind="credential", name=name)
            now = standing.pop(credential.key, None)
            if now is not None and getattr(now.auth, "type", None) != credential.auth["type"]:
                await self._service.archive_credential(vault_id, now.id)  # its kind cannot change
                now = None
            if now is not None and before == Remote(credential.digest, now.id, None):
                continue
            marks = {NAME_KEY: vault}
            if now is None:
                made = await self._service.create_credential(vault_id, credential.auth, marks)
                identifier = str(made.id)
            else:
                identifier = str(now.id)
                await self._service.update_credential(
                    vault_id, identifier, _changeable(credential.auth), marks
                )
            log.info("a credential was sent", vault=vault, credential=credential.key, id=identifier)
            after = Remote(credential.digest, identifier, None)
            await self._database.write(
                remote_objects.replace, kind="credential", name=name, before=before, after=after
            )
            await self._database.write(credentials.mended, identifier)
        for key, left in standing.items():
            if _metadata(left).get(NAME_KEY) == vault:
                await self._service.archive_credential(vault_id, left.id)
                await self._database.write(credentials.mended, left.id)
                log.info("a credential was archived", vault=vault, credential=key, id=left.id)

    def _hash(self, name: str, path: Path) -> str:
        """Hash of a file's content; read again only where its time or size changed. Blocks."""
        try:
            stat = path.stat()
        except OSError as error:
            raise StoreError(_unreadable(name, path, error)) from None
        stamp = stat.st_mtime_ns, stat.st_size
        held = self._read.get(str(path))
        if held is None or held[0] != stamp:
            held = stamp, hashlib.sha256(_content(name, path)).hexdigest()
            self._read[str(path)] = held
        return held[1]


@dataclass(frozen=True, slots=True)
class _Credential:
    """One credential with its secrets. Never shown."""

    key: str
    auth: dict[str, Any] = field(repr=False)
    digest: str


def _find(what: str, name: str, known: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
    if name not in known:
        msg = f"the configuration has no {what} {name!r}; it has {', '.join(sorted(known)) or 'none'}"
        raise UnknownDefinitionError(msg)
    return known[name]


def _content(name: str, path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            content = stream.read(MOST_BYTES + 1)
    except OSError as error:
        raise StoreError(_unreadable(name, path, error)) from None
    if not content:
        raise StoreError(f"the file {name!r} ({path}) is empty")
    if len(content) > MOST_BYTES:
        raise StoreError(f"the file {name!r} ({path}) is larger than {MOST_BYTES:,} bytes")
    return content


def _unreadable(name: str, path: Path, error: OSError) -> str:
    return f"the file {name!r} ({path}) cannot be read ({error.strerror}); correct its path"


def _key(auth: Mapping[str, Any]) -> str:
    return str(auth.get("mcp_server_url") or auth.get("secret_name") or "")


def _changeable(auth: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a credential that an update takes."""
    part = {name: value for name, value in auth.items() if name not in IMMUTABLE}
    refresh = part.get("refresh")
    if isinstance(refresh, Mapping):
        part["refresh"] = {name: value for name, value in refresh.items() if name in OF_REFRESH}
    return part


def _metadata(remote: Any) -> Mapping[str, str]:
    found: Mapping[str, str] = getattr(remote, "metadata", None) or {}
    return found


def _plain(value: Any) -> Mapping[str, Any]:
    dumped: Mapping[str, Any] = value.model_dump() if hasattr(value, "model_dump") else {}
    return dumped

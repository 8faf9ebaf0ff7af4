"""Vaults, memory stores and files: made once, found again, kept as written; no secret is kept."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from runner_samples import dispatch_of
from runner_world import Bench, bench, world_over
from sqlalchemy import select

from runner.catalogue import NAME_KEY
from runner.stores import Stored
from schemas.dispatch import Dispatch, FileMount, MemoryMount, Outcome
from storage.rows import table
from storage.tables import RemoteObject

SERVER = "https://mcp.example.com/sse"


class Keyring:
    """Secrets of a test."""

    def __init__(self) -> None:
        self.secrets = {"env:DOCS": "hush-docs", "env:NPM": "hush-npm"}

    def value(self, reference: str) -> str:
        if reference not in self.secrets:
            raise LookupError(f"the variable of {reference} is not set")
        return self.secrets[reference]

    def seal(self, text: str) -> str:
        return hashlib.sha256(b"key" + text.encode()).hexdigest()


@pytest.fixture
def keyring() -> Keyring:
    return Keyring()


@pytest.fixture
async def runner(sqlite_template: Path, tmp_path: Path, keyring: Keyring) -> AsyncIterator[Bench]:
    async with bench(sqlite_template, tmp_path, secrets=keyring) as made:
        yield made


def bearer(reference: str = "env:DOCS") -> dict[str, Any]:
    return {"type": "static_bearer", "mcp_server_url": SERVER, "token": reference}


def variable(**more: Any) -> dict[str, Any]:
    return {
        "type": "environment_variable",
        "secret_name": "NPM_TOKEN",
        "secret_value": "env:NPM",
        "networking": {"type": "limited", "allowed_hosts": ["packages.acme.example"]},
        **more,
    }


def vaults(runner: Bench, *credentials: dict[str, Any], name: str = "tools") -> None:
    runner.world.stores.stored = Stored(vaults={name: {"credentials": list(credentials)}})


def living(runner: Bench, vault_id: str) -> list[dict[str, Any]]:
    return [one for one in runner.agents.credentials[vault_id].values() if one["archived_at"] is None]


async def stored(runner: Bench) -> str:
    """Everything that the database keeps of remote objects, as one text."""
    rows = table(RemoteObject)
    return await runner.database.read(
        lambda connection: "\n".join(str(dict(row)) for row in connection.execute(select(rows)).mappings())
    )


# Vaults ---------------------------------------------------------------------------------------------------------------


async def test_a_vault_is_made_once_and_given_to_the_session(runner: Bench) -> None:
    vaults(runner, bearer(), variable())
    runner.worker()
    first = await runner.run(dispatch_of(1, scenario="scenario=happy", vaults=("tools",)))
    second = await runner.run(dispatch_of(2, scenario="scenario=happy", vaults=("tools",)))
    assert [first["status"], second["status"]] == ["succeeded"] * 2, first["error"] or second["error"]
    (vault,) = runner.agents.vaults.values()
    assert (vault["display_name"], vault["metadata"]) == ("tools", {NAME_KEY: "tools"})
    assert [one["auth"]["type"] for one in living(runner, vault["id"])] == [
        "static_bearer",
        "environment_variable",
    ]
    for row in (first, second):
        assert runner.agents.sessions[row["session_id"]].vault_ids == [vault["id"]]
    posts = [
        call
        for call in runner.outside.log.calls("anthropic")
        if call.method == "POST" and "vaults" in call.path
    ]
    assert len(posts) == 3, "one vault, two credentials"


async def test_nothing_that_is_unchanged_is_sent_again_by_another_process(
    runner: Bench, keyring: Keyring
) -> None:
    vaults(runner, bearer(), variable())
    identifier = await runner.world.stores.vault("tools")
    last = runner.outside.log.calls()[-1].n
    async with AsyncExitStack() as stack:
        other = await world_over(stack, runner.sandbox, runner.database, secrets=keyring)
        other.stores.stored = runner.world.stores.stored
        assert await other.stores.vault("tools") == identifier
    assert runner.outside.log.calls(since=last) == []


async def test_a_secret_that_changed_is_sent_and_no_other(runner: Bench, keyring: Keyring) -> None:
    vaults(runner, bearer(), variable())
    identifier = await runner.world.stores.vault("tools")
    before = {one["auth"]["type"]: one["updated_at"] for one in living(runner, identifier)}
    keyring.secrets["env:NPM"] = "hush-new"
    assert await runner.world.stores.vault("tools") == identifier
    after = {one["auth"]["type"]: one["updated_at"] for one in living(runner, identifier)}
    assert after["static_bearer"] == before["static_bearer"]
    assert after["environment_variable"] > before["environment_variable"]
    assert len(runner.agents.vaults) == 1


async def test_credentials_follow_what_is_written(runner: Bench) -> None:
    vaults(runner, bearer(), variable())
    identifier = await runner.world.stores.vault("tools")
    theirs = await runner.world.service.beta.vaults.credentials.create(
        identifier, auth={"type": "static_bearer", "mcp_server_url": "https://other.example", "token": "x"}
    )
    networking = {"type": "limited", "allowed_hosts": ["npm.example"]}
    vaults(runner, variable(networking=networking))
    assert await runner.world.stores.vault("tools") == identifier
    kept = living(runner, identifier)
    assert {one["auth"].get("secret_name") or one["id"] for one in kept} == {"NPM_TOKEN", theirs.id}
    assert kept[0]["auth"]["networking"]["allowed_hosts"] == ["npm.example"]
    vaults(runner, {**bearer(), "mcp_server_url": SERVER}, variable(networking=networking))
    await runner.world.stores.vault("tools")
    oauth = {"type": "mcp_oauth", "mcp_server_url": SERVER, "access_token": "env:DOCS"}
    vaults(runner, oauth, variable(networking=networking))
    await runner.world.stores.vault("tools")
    kinds = [
        one["auth"]["type"]
        for one in living(runner, identifier)
        if one["auth"].get("mcp_server_url") == SERVER
    ]
    assert kinds == ["mcp_oauth"], "another kind takes the old one's place"


async def test_no_secret_is_kept_or_told(
    runner: Bench, keyring: Keyring, caplog: pytest.LogCaptureFixture
) -> None:
    vaults(runner, bearer(), variable())
    runner.worker()
    row = await runner.run(dispatch_of(scenario="scenario=happy", vaults=("tools",)))
    seen = await stored(runner) + str(row) + caplog.text
    assert "credential" in seen
    assert all(secret not in seen for secret in keyring.secrets.values())


async def test_a_secret_that_is_missing_fails_the_run_with_its_name(runner: Bench) -> None:
    vaults(runner, bearer("env:GONE"))
    runner.worker()
    row = await runner.run(dispatch_of(scenario="scenario=happy", vaults=("tools",)))
    assert row["status"] == "failed"
    assert row["error"] == "the vault 'tools': the variable of env:GONE is not set"
    assert runner.agents.sessions == {}


async def test_a_vault_made_elsewhere_is_used_and_left_alone(runner: Bench) -> None:
    theirs = await runner.world.service.beta.vaults.create(display_name="theirs")
    runner.world.stores.stored = Stored(vaults={"shared": {"id": theirs.id}})
    last = runner.outside.log.calls()[-1].n
    assert await runner.world.stores.vault("shared") == theirs.id
    assert runner.outside.log.calls(since=last) == []


@pytest.mark.parametrize("mode", ["commit_then_status", "commit_then_cut"])
@pytest.mark.parametrize("path", ["/v1/vaults", "/v1/vaults/*/credentials", "/v1/memory_stores", "/v1/files"])
async def test_an_answer_that_was_lost_makes_nothing_twice(
    runner: Bench, tmp_path: Path, mode: Any, path: str
) -> None:
    everything(runner, tmp_path)
    runner.outside.faults.ask(mode, service="anthropic", method="POST", path=path)
    runner.worker()
    row = await runner.run(with_everything())
    assert row["status"] == "succeeded", row["error"]
    assert len(runner.agents.vaults) == len(runner.agents.memory_stores) == 1
    (vault_id,) = runner.agents.vaults
    assert len(living(runner, vault_id)) == 2
    assert len([file for file in runner.agents.files.values() if file.metadata["scope"] is None]) == 1


@pytest.mark.parametrize("what", ["vault", "memory store", "file"])
async def test_what_was_removed_at_the_service_is_made_anew(runner: Bench, tmp_path: Path, what: str) -> None:
    everything(runner, tmp_path)
    runner.worker()
    first = await runner.run(with_everything(1))
    assert first["status"] == "succeeded", first["error"]
    state = runner.agents
    if what == "vault":
        (vault,) = state.vaults.values()
        await runner.world.service.beta.vaults.archive(vault["id"])
    elif what == "memory store":
        (store,) = state.memory_stores.values()
        await runner.world.service.beta.memory_stores.archive(store["id"])
    else:
        for identifier, file in list(state.files.items()):
            if file.metadata["scope"] is None:
                await runner.world.service.beta.files.delete(identifier)
    second = await runner.run(with_everything(2))
    assert second["status"] == "succeeded", second["error"]
    session = state.sessions[second["session_id"]]
    assert [one["type"] for one in session.resources] == ["file", "memory_store"]
    assert len(session.vault_ids) == 1


# Memory stores and files ----------------------------------------------------------------------------------------------


def everything(runner: Bench, folder: Path, *, text: str = "Be kind.", description: str = "Lessons.") -> None:
    path = folder / "handbook.md"
    path.write_text(text, encoding="utf-8")
    runner.world.stores.stored = Stored(
        vaults={"tools": {"credentials": [bearer(), variable()]}},
        memory_stores={"lessons": {"description": description}},
        files={"handbook": {"path": str(path)}},
    )


def with_everything(number: int = 12, **more: Any) -> Dispatch:
    return dispatch_of(
        number,
        scenario="scenario=happy",
        **{
            "vaults": ("tools",),
            "memory_stores": (
                MemoryMount(name="lessons", access="read_only", instructions="Read it first."),
            ),
            "files": (FileMount(name="handbook", mount_path="/workspace/handbook.md"),),
            **more,
        },
    )


async def test_memory_stores_and_files_are_mounted(runner: Bench, tmp_path: Path) -> None:
    everything(runner, tmp_path)
    runner.worker()
    row = await runner.run(with_everything())
    assert row["status"] == "succeeded", row["error"]
    file, memory = runner.agents.sessions[row["session_id"]].resources
    assert (memory["name"], memory["access"], memory["instructions"]) == (
        "lessons",
        "read_only",
        "Read it first.",
    )
    assert (memory["description"], memory["mount_path"]) == ("Lessons.", "/mnt/memory/lessons")
    assert file["mount_path"] == "/workspace/handbook.md"
    assert runner.agents.files[file["file_id"]].content == b"Be kind."
    assert "The file handbook is at /workspace/handbook.md." in runner.agents.work[0].text


async def test_a_memory_store_keeps_its_memories_when_its_description_changes(
    runner: Bench, tmp_path: Path
) -> None:
    everything(runner, tmp_path)
    identifier = await runner.world.stores.memory_store("lessons")
    memories = runner.world.service.beta.memory_stores.memories
    await memories.create(identifier, path="/a.md", content="Round once.")
    everything(runner, tmp_path, description="What we learnt.")
    assert await runner.world.stores.memory_store("lessons") == identifier
    (store,) = runner.agents.memory_stores.values()
    assert store["description"] == "What we learnt."
    assert [one.path for one in (await memories.list(identifier)).data] == ["/a.md"]


async def test_a_file_is_uploaded_once_for_each_content(runner: Bench, tmp_path: Path) -> None:
    everything(runner, tmp_path)
    first = await runner.world.stores.file("handbook")
    assert await runner.world.stores.file("handbook") == first
    everything(runner, tmp_path, text="Be kind and brief.")
    second = await runner.world.stores.file("handbook")
    everything(runner, tmp_path)
    assert await runner.world.stores.file("handbook") == first, "the same content is the same file"
    assert second != first
    assert len(runner.agents.files) == 2
    assert all(file.metadata["filename"].startswith("handbook-") for file in runner.agents.files.values())


@pytest.mark.parametrize("content", [None, b""])
async def test_a_file_that_cannot_be_used_fails_the_run_with_its_name(
    runner: Bench, tmp_path: Path, content: bytes | None
) -> None:
    everything(runner, tmp_path)
    path = tmp_path / "handbook.md"
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    runner.worker()
    row = await runner.run(with_everything(vaults=()))
    assert row["status"] == "failed"
    assert "the file 'handbook'" in row["error"]
    assert runner.agents.sessions == {}


async def test_a_rubric_may_be_a_file(runner: Bench, tmp_path: Path) -> None:
    everything(runner, tmp_path, text="It names each error.")
    outcome = Outcome(description="A report.", rubric_file="handbook")
    runner.worker()
    row = await runner.run(dispatch_of(scenario="scenario=happy", outcome=outcome))
    assert row["status"] == "succeeded", row["error"]
    (defined,) = runner.sent(row["session_id"], "user.define_outcome")
    assert defined["rubric"] == {"type": "file", "file_id": await runner.world.stores.file("handbook")}


async def test_many_at_once_make_one_of_each(runner: Bench, tmp_path: Path) -> None:
    everything(runner, tmp_path)
    stores = runner.world.stores
    found = await asyncio.gather(
        *(stores.vault("tools") for _ in range(5)),
        *(stores.memory_store("lessons") for _ in range(5)),
        *(stores.file("handbook") for _ in range(5)),
    )
    assert len(set(found)) == 3
    assert len(runner.agents.vaults) == len(runner.agents.memory_stores) == len(runner.agents.files) == 1

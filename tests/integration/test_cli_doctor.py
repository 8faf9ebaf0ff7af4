"""`triggerhub doctor`: each thing that a hub needs, found or missed."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from command_line import Ran, triggerhub
from services.facts import body_of, make_dispatch
from sqlalchemy import Connection

from sandbox.server import Sandbox, serve
from storage import credentials, remote_objects, runs
from storage.conversations import run_id_of
from storage.database import open_database
from storage.migrate import upgrade
from storage.remote_objects import Remote

CONFIG = """\
version: 1
connections:
  acme-github:
    source: github
    api_url: {github}
    webhook_secrets: [env:HOOK_SECRET]
    token: env:GITHUB_TOKEN
  only-receives:
    source: github
    webhook_secrets: [env:HOOK_SECRET]
"""
TOKEN = "a-token-of-the-vendor"


class Patient:
    """A folder and an environment to look at."""

    def __init__(self, folder: Path, sandbox: Sandbox) -> None:
        self.folder = folder
        self.env = {
            "HOOK_SECRET": "a-secret-of-the-hook",
            "GITHUB_TOKEN": TOKEN,
            "ANTHROPIC_API_KEY": "sandbox-key",
            "ANTHROPIC_BASE_URL": sandbox.anthropic_url,
        }
        config = CONFIG.format(github=sandbox.api_url("github"))
        (folder / "triggerhub.yaml").write_text(config, encoding="utf-8")

    async def look(self, *arguments: str, **env: str) -> Ran:
        ran = await asyncio.to_thread(
            triggerhub, "doctor", *arguments, folder=self.folder, env={**self.env, **env}
        )
        assert ran.calm
        assert TOKEN not in ran.out + ran.err
        assert "a-secret-of-the-hook" not in ran.out + ran.err
        return ran

    async def findings(self, about: str, *arguments: str, **env: str) -> list[dict[str, Any]]:
        told = (await self.look("--json", *arguments, **env)).json()
        return [finding for finding in told["findings"] if finding["about"] == about]


@pytest.fixture
async def patient(tmp_path: Path) -> AsyncIterator[Patient]:
    async with serve(create_missing=True) as sandbox:
        yield Patient(tmp_path, sandbox)


async def test_all_is_well(patient: Patient) -> None:
    ran = await patient.look()
    assert ran.code == 0
    assert ran.err == ""
    states = [line.split()[0] for line in ran.out.splitlines()]
    assert set(states) == {"ok", "warn"}
    assert states.count("warn") == 1, "the connection without a token"
    told = await patient.look("--json")
    assert told.json()["ok"] is True
    assert list(patient.folder.iterdir()) == [patient.folder / "triggerhub.yaml"], "nothing was made"


async def test_the_vendor_says_who_we_are(patient: Patient) -> None:
    known, none = await patient.findings("token")
    assert known["state"] == "ok"
    assert "triggerhub-machine" in known["detail"]
    assert none["state"] == "warn"
    assert "cannot post" in none["detail"]


async def test_offline_asks_nobody(patient: Patient) -> None:
    assert await patient.findings("token", "--offline", ANTHROPIC_BASE_URL="http://127.0.0.1:1") == []
    [key] = await patient.findings("anthropic", "--offline", ANTHROPIC_BASE_URL="http://127.0.0.1:1")
    assert key["state"] == "ok"


@pytest.mark.parametrize(
    ("about", "env", "said"),
    [
        ("settings", {"TRIGGERHUB_MAX_RUNS": "none"}, "TRIGGERHUB_MAX_RUNS"),
        ("secret", {"HOOK_SECRET": ""}, "HOOK_SECRET is not set"),
        ("config", {"TRIGGERHUB_CONFIG": "nowhere.yaml"}, "there is no configuration at nowhere.yaml"),
        ("database", {"TRIGGERHUB_DATABASE_URL": "postgresql://u:pw@127.0.0.1:1/x"}, "u:***@127.0.0.1:1"),
        ("database", {"TRIGGERHUB_DATABASE_URL": "sqlite:////proc/none/hub.db"}, "TRIGGERHUB_DATABASE_URL"),
        ("broker", {"TRIGGERHUB_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}, "127.0.0.1:1 does not answer"),
        ("anthropic", {"ANTHROPIC_API_KEY": ""}, "ANTHROPIC_API_KEY is not set"),
        ("anthropic", {"ANTHROPIC_BASE_URL": "http://127.0.0.1:1"}, "does not answer"),
    ],
)
async def test_what_is_missing_fails_with_the_remedy(
    patient: Patient, about: str, env: dict[str, str], said: str
) -> None:
    ran = await patient.look("--json", **env)
    assert ran.code == 1
    assert ran.json()["ok"] is False
    failed = [finding for finding in ran.json()["findings"] if finding["state"] == "fail"]
    assert any(finding["about"] == about and said in finding["detail"] for finding in failed)
    assert {finding["about"] for finding in failed} == {about}


async def test_the_schema_of_the_database(patient: Patient) -> None:
    path = patient.folder / "hub.db"
    env = {"TRIGGERHUB_DATABASE_URL": f"sqlite:///{path}"}
    database = open_database(env["TRIGGERHUB_DATABASE_URL"])
    await upgrade(database)
    await database.close()
    newest, writable = await patient.findings("database", "--offline", **env)
    assert (newest["state"], writable["state"]) == ("ok", "ok")
    assert "is the newest" in newest["detail"]
    with sqlite3.connect(path) as connection:
        tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
        assert "triggerhub_doctor" not in tables, "the trial was undone"
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    newer, _ = await patient.findings("database", "--offline", **env)
    assert newer["state"] == "fail"
    assert "newer triggerhub" in newer["detail"]


async def test_credentials_that_cannot_be_renewed_are_told_with_their_runs(patient: Patient) -> None:
    env = {"TRIGGERHUB_DATABASE_URL": f"sqlite:///{patient.folder / 'hub.db'}"}
    database = open_database(env["TRIGGERHUB_DATABASE_URL"])
    await upgrade(database)
    one = make_dispatch(1, vaults=("tools",))
    vault = Remote("vlt_1", "vlt_1", None)

    def store(connection: Connection) -> None:
        runs.take_dispatch(connection, one, body_of(one))
        remote_objects.replace(connection, kind="vault", name="tools", before=None, after=vault)
        for credential, owner in (("vcrd_1", "vlt_1"), ("vcrd_9", "vlt_of_another_program")):
            credentials.failed(
                connection, credential_id=credential, vault_id=owner, event_id="evt_1", failed_at=0.0
            )

    await database.write(store)
    await database.close()
    [told] = await patient.findings("vaults", "--offline", **env)
    assert told["state"] == "warn"
    assert "credential vcrd_1 in vault tools can no longer be renewed" in told["detail"]
    shown = await asyncio.to_thread(
        triggerhub, "runs", "show", run_id_of(one.id), folder=patient.folder, env=env
    )
    assert "broken        tools/vcrd_1 can no longer be renewed: give the vault new ones" in shown.out

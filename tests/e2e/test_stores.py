"""Vaults, memory stores and files of a configuration in a whole hub, from YAML to the session."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from crash.stage import stage
from crash.webhooks import sentry_alert

from hub.demo.scenarios import DEMO_SECRETS
from hub.secrets import SecretError

SECRETS = {**DEMO_SECRETS, "DOCS_TOKEN": "hush-hush"}


def furnished(config: dict[str, Any]) -> None:
    credential = {
        "type": "static_bearer",
        "mcp_server_url": "https://mcp.example.com",
        "token": "env:DOCS_TOKEN",
    }
    config["vaults"] = {"tools": {"credentials": [credential]}}
    config["memory_stores"] = {"lessons": {"description": "Old faults."}}
    config["files"] = {"handbook": {"path": "handbook.md"}}
    for rule in config["rules"]:
        rule |= {"vaults": ["tools"], "memory_stores": ["lessons"], "files": ["handbook"]}


async def test_a_session_gets_what_the_configuration_says(tmp_path: Path) -> None:
    (tmp_path / "handbook.md").write_text("Be kind.", encoding="utf-8")
    async with stage(tmp_path, edit=furnished, environment=SECRETS) as running:
        run = await running.ended(await running.accepted(sentry_alert(4)))
        assert run["status"] == "succeeded", run["error"]
        session = running.agents.sessions[run["session_id"]]
        assert [one["type"] for one in session.resources] == ["github_repository", "file", "memory_store"]
        assert session.resources[1]["mount_path"] == "/mnt/session/uploads/handbook.md"
        (vault,) = running.agents.vaults.values()
        assert session.vault_ids == [vault["id"]]


async def test_a_secret_of_a_vault_that_is_missing_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(SecretError, match="vault tools: the environment variable DOCS_TOKEN is not set"):
        async with stage(tmp_path, edit=furnished):
            pass

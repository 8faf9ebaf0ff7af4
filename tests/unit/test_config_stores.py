"""Vaults, memory stores and files in a configuration: what loads, what is told where; secrets are never repeated."""

from __future__ import annotations

from typing import Any

import pytest
from definition_samples import CHECKS, agents, told
from router_samples import load_config

BEARER = {"type": "static_bearer", "mcp_server_url": "https://mcp.example.com", "token": "env:DOCS"}
VARIABLE = {
    "type": "environment_variable",
    "secret_name": "NPM_TOKEN",
    "secret_value": "env:NPM",
    "networking": {"type": "unrestricted"},
}


def with_stores(**more: Any) -> dict[str, Any]:
    """A rule that uses a vault, a memory store and a file; `more` replaces parts of the configuration."""
    config = agents()
    config["rules"][0] |= {
        "vaults": ["tools"],
        "memory_stores": ["lessons", {"store": "lessons", "access": "read_only"}],
        "files": ["handbook"],
        "outcome": {"description": "A report.", "rubric": {"file": "handbook"}},
    }
    config |= {
        "vaults": {"tools": {"credentials": [BEARER, VARIABLE]}, "shared": {"id": "vlt_1"}},
        "memory_stores": {"lessons": {}, "shared": {"id": "memstore_1"}},
        "files": {
            "handbook": {"path": "handbook.md"},
            "prices": {"id": "file_1", "mount_path": "/workspace/prices"},
        },
    }
    return {**config, **more}


def test_vaults_memory_stores_and_files_load() -> None:
    assert told(with_stores()) == []
    config, rules = load_config(with_stores(), **CHECKS)
    (compiled,) = rules.rules
    assert compiled.vaults == ("tools",)
    assert [(one.name, one.mount_path) for one in compiled.files] == [
        ("handbook", "/mnt/session/uploads/handbook.md")
    ]
    assert config.files["handbook"].path == "handbook.md"


def test_an_agents_vaults_go_with_its_rules() -> None:
    config = with_stores()
    config["agents"]["fixer"]["vaults"] = ["shared", "tools"]
    _, rules = load_config(config, **CHECKS)
    assert rules.rules[0].vaults == ("shared", "tools")


@pytest.mark.parametrize(
    ("section", "entry", "complaint"),
    [
        ("vaults", {}, ": write either the id of a vault made elsewhere, or credentials"),
        (
            "vaults",
            {"id": "vlt_1", "credentials": [BEARER]},
            ": write either the id of a vault made elsewhere, or credentials",
        ),
        ("vaults", {"id": "vault_1"}, r".id: must fit the pattern ^vlt_\S+$, not 'vault_1'"),
        (
            "vaults",
            {"credentials": [{**BEARER, "type": "static_bear"}]},
            ".credentials[0].type: 'static_bear' is not a known value; did you mean 'static_bearer'?",
        ),
        (
            "vaults",
            {"credentials": [{**BEARER, "tokn": 1}]},
            ".credentials[0]: unknown field 'tokn'; did you mean 'token'?",
        ),
        (
            "vaults",
            {"credentials": [BEARER, BEARER]},
            ".credentials[1]: credentials[0] is for 'https://mcp.example.com' too",
        ),
        (
            "memory_stores",
            {"id": "memstore_1", "description": "x"},
            ": a memory store made elsewhere has a description",
        ),
        ("files", {}, ": write either the path of a file, or the id of one that was uploaded elsewhere"),
        ("files", {"path": "a", "mount_path": "b"}, r".mount_path: must fit the pattern ^/\S+$, not 'b'"),
    ],
)
def test_what_is_stored_is_told_where_it_is_wrong(
    section: str, entry: dict[str, Any], complaint: str
) -> None:
    config = agents()
    config[section] = {"one": entry}
    (found,) = told(config)
    assert found.startswith(f"{section}.one{complaint}")


@pytest.mark.parametrize("secret", ["hush-hush", 12345])
@pytest.mark.parametrize(
    "credential",
    [
        {**BEARER, "token": None},
        {**VARIABLE, "secret_value": None},
        {"type": "mcp_oauth", "mcp_server_url": "https://mcp.example.com", "access_token": None},
    ],
)
def test_a_secret_that_was_written_out_is_refused_and_not_repeated(
    credential: dict[str, Any], secret: Any
) -> None:
    written = {name: secret if value is None else value for name, value in credential.items()}
    config = agents()
    config["vaults"] = {"tools": {"credentials": [written]}}
    (found,) = told(config)
    assert "a secret must be a reference" in found
    assert str(secret) not in found


@pytest.mark.parametrize(
    ("field", "written", "complaint"),
    [
        ("vaults", ["tols"], "vaults[0]: unknown vault 'tols'; did you mean 'tools'?"),
        (
            "memory_stores",
            ["lesson"],
            "memory_stores[0]: unknown memory store 'lesson'; did you mean 'lessons'?",
        ),
        (
            "memory_stores",
            [{"store": "lesson"}],
            "memory_stores[0].store: unknown memory store 'lesson'; did you mean 'lessons'?",
        ),
        (
            "memory_stores",
            [{"store": "lessons", "access": "readonly"}],
            "memory_stores[0].access: unknown value 'readonly'; did you mean 'read_only'?",
        ),
        ("files", ["handbok"], "files[0]: unknown file 'handbok'; did you mean 'handbook'?"),
        (
            "outcome",
            {"description": "x", "rubric": {"file": "handbok"}},
            "outcome.rubric.file: unknown file 'handbok'; did you mean 'handbook'?",
        ),
    ],
)
def test_unknown_names_in_a_rule_name_the_nearest(field: str, written: Any, complaint: str) -> None:
    config = with_stores()
    config["rules"][0][field] = written
    assert told(config) == [f"rules[0].{complaint}"]


def test_an_unknown_vault_of_an_agent_names_the_nearest() -> None:
    config = with_stores()
    config["agents"]["fixer"]["vaults"] = ["tols"]
    assert told(config) == ["agents.fixer.vaults[0]: unknown vault 'tols'; did you mean 'tools'?"]


def test_a_self_hosted_environment_is_given_nothing_it_cannot_have() -> None:
    config = with_stores(environments={"python": {"config": {"type": "self_hosted"}}})
    config["rules"][0]["repository"] = {"connection": "acme-github", "name": "acme/checkout"}
    found = told(config)
    assert {one.partition(":")[0] for one in found} == {
        f"rules[0].{field}" for field in ("repository", "memory_stores", "files", "agent")
    }
    assert sum("does not reach the self-hosted environment 'python'" in one for one in found) == 1

"""Secret references: resolved at start, named when missing, never shown."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import structlog

from hub.configuration import live_connections
from hub.logs import keep_secret, set_up_logs
from hub.secrets import SecretError, references, resolve
from hub.vault_secrets import VaultSecrets, check_vaults
from schemas.config import Config


def test_a_variable_and_a_file_are_read(tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    file.write_text("the key\n", encoding="utf-8")
    assert resolve("env:A", environment={"A": "one"}) == "one"
    assert resolve(f"file:{file}") == "the key"


@pytest.mark.parametrize("environment", [{}, {"GITHUB_TOKEN": ""}])
def test_an_unset_variable_is_named_with_the_remedy(environment: dict[str, str]) -> None:
    with pytest.raises(
        SecretError, match=r"connection acme: the environment variable GITHUB_TOKEN is not set; set it"
    ):
        resolve("env:GITHUB_TOKEN", environment=environment, where="connection acme")


def test_a_missing_or_empty_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SecretError, match="cannot be read"):
        resolve(f"file:{tmp_path}/nothing")
    (tmp_path / "empty").write_text(" \n", encoding="utf-8")
    with pytest.raises(SecretError, match="is empty"):
        resolve(f"file:{tmp_path}/empty")


def test_a_literal_is_refused_without_being_shown() -> None:
    with pytest.raises(SecretError) as refused:
        resolve("hunter2-in-plain-sight")
    assert "hunter2" not in str(refused.value)


def test_references_are_found_at_any_depth() -> None:
    value = {
        "webhook_secrets": ["env:A", "env:B"],
        "app": {"id": 1, "private_key": "file:/k"},
        "api_url": "https://x",
    }
    assert list(references(value)) == ["env:A", "env:B", "file:/k"]


def test_every_missing_secret_is_reported_at_once() -> None:
    config = Config.model_construct(
        version=1,
        connections={
            "one": {
                "source": "github",
                "api_url": "https://a",
                "webhook_secrets": ["env:ONE"],
                "token": "env:TWO",
            },
            "two": {"source": "slack", "api_url": "https://b", "webhook_secrets": ["env:THREE"]},
        },
        environments={},
        agents={},
        rules=(),
    )
    with pytest.raises(SecretError) as refused:
        live_connections(config, environment={})
    for name in ("ONE", "TWO", "THREE"):
        assert f"the environment variable {name} is not set" in str(refused.value)


@pytest.mark.parametrize("style", ["console", "json"])
def test_known_secrets_are_blotted_out_of_every_log_line(
    style: str, capsys: pytest.CaptureFixture[str]
) -> None:
    root = logging.getLogger()
    before, level = root.handlers, root.level
    try:
        set_up_logs("info", style=style)
        keep_secret(["a-secret-of-the-test"])
        log = structlog.get_logger("test")
        log.info("it came to a-secret-of-the-test", token="xa-secret-of-the-testx")
        logging.getLogger("other").warning("library says %s", "a-secret-of-the-test")
        hidden = "a local variable nobody may see"
        try:
            int(f"boom a-secret-of-the-test {len(hidden)}")
        except ValueError:
            log.exception("failed")
    finally:
        root.handlers, root.level = before, level
        structlog.reset_defaults()
    shown = capsys.readouterr().err
    assert "a-secret-of-the-test" not in shown
    assert "nobody may see" not in shown
    assert shown.count("[secret]") == 5


VAULT = {
    "tools": {"credentials": [{"type": "static_bearer", "mcp_server_url": "https://x", "token": "env:DOCS"}]}
}


def test_secrets_of_vaults_are_looked_for_at_the_start() -> None:
    config = Config.model_validate({"version": 1, "vaults": VAULT})
    check_vaults(config, environment={"DOCS": "hush"})
    with pytest.raises(SecretError, match="vault tools: the environment variable DOCS is not set"):
        check_vaults(config, environment={})


def test_a_secret_of_a_vault_is_sealed_under_the_key_and_named_when_it_is_gone() -> None:
    secrets = VaultSecrets("sk-one", environment={"DOCS": "hush"})
    assert secrets.value("env:DOCS") == "hush"
    assert secrets.seal("hush") == secrets.seal("hush") != VaultSecrets("sk-two").seal("hush")
    assert "hush" not in secrets.seal("hush")
    with pytest.raises(LookupError, match="the environment variable GONE is not set"):
        secrets.value("env:GONE")

"""Connections of a configuration: what is refused, with its field; secrets are references, and no message repeats one."""

from __future__ import annotations

import pytest
from router_samples import (
    connection,
    problems,
)

CONNECTION_ERRORS: list[tuple[object, str]] = [
    (connection("github", webhook_secrets=None), "webhook_secrets: must be a list"),
    ({"source": "github", "api_url": "https://a.example"}, "webhook_secrets: required, but missing"),
    (connection("github", webhook_secrets=[]), "webhook_secrets: must not be empty"),
    (connection("github", webhook_secrets="env:A"), "webhook_secrets: must be a list"),
    (
        connection("github", webhook_secrets=["env:A", "s3cr3t"]),
        "webhook_secrets[1]: a secret must be a reference",
    ),
    (connection("github", token="s3cr3t"), "token: a secret must be a reference"),
    (connection("github", token="env: s3cr3t"), "token: a secret must be a reference"),
    (connection("github", token=53321), "token: a secret must be a reference"),
    (connection("github", tokn="s3cr3t"), "tokn: unknown field 'tokn'; did you mean 'token'?"),
    (connection("github", app={"id": "1", "private_key": "s3cr3t"}), "app.private_key: a secret must be"),
    (connection("github", app={"id": "1", "key": "s3cr3t"}), "app.key: unknown field 'key'"),
    (connection("github", app="s3cr3t"), "app: must be a mapping"),
    (connection("github", api_url="ftp://s3cr3t"), "api_url:"),
    (connection("gitub"), "source: unknown source 'gitub'; did you mean 'github'?"),
    ({"api_url": "https://a.example"}, "source: required, but missing; known are github, sentry, slack"),
    (["s3cr3t"], " must be a mapping of names to values"),
]


@pytest.mark.parametrize(("raw", "message"), CONNECTION_ERRORS)
def test_connection_errors(raw: object, message: str) -> None:
    found = problems({"version": 1, "connections": {"acme": raw}})
    wanted = f"connections.acme:{message}" if message.startswith(" ") else f"connections.acme.{message}"
    assert any(line.startswith(wanted) for line in found), found


@pytest.mark.parametrize("raw", [raw for raw, _ in CONNECTION_ERRORS])
def test_no_message_quotes_a_secret(raw: object) -> None:
    text = "\n".join(problems({"version": 1, "connections": {"acme": raw}}))
    assert text
    if "ftp://" not in str(raw):  # an address is no secret
        assert "s3cr3t" not in text
    assert "53321" not in text


def test_secrets_may_be_files() -> None:
    app = {"id": "1", "private_key": "file:/run/secrets/app.pem"}
    assert problems({"version": 1, "connections": {"acme": connection("github", app=app)}}) == []

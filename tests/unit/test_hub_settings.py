"""Settings: bad combinations are refused when built, with the variable's name."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from hub.broker import security
from hub.settings import Settings


def test_defaults_are_the_embedded_set_up(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TRIGGERHUB_DATABASE_URL", "TRIGGERHUB_KAFKA_BOOTSTRAP_SERVERS", "ANTHROPIC_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    settings = Settings()
    assert settings.embedded_broker
    assert settings.sqlite
    assert (settings.session_creates_per_minute, settings.session_reads_per_minute) == (60, 600)


def test_variables_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIGGERHUB_KAFKA_BOOTSTRAP_SERVERS", "a:9092, b:9092")
    monkeypatch.setenv("TRIGGERHUB_DATABASE_URL", "postgresql://u:p@h/n")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-invented")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "")
    settings = Settings()
    assert settings.bootstrap_servers == ["a:9092", "b:9092"]
    assert not settings.embedded_broker
    assert settings.anthropic_base_url is None
    assert "sk-invented" not in repr(settings)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("TRIGGERHUB_DATABASE_URL", "mysql://u@h/n", "sqlite:///FILE or postgresql://"),
        ("TRIGGERHUB_SESSION_CREATES_PER_MINUTE", "0", "greater than or equal to 1"),
        ("TRIGGERHUB_KAFKA_SECURITY_PROTOCOL", "SASL_SSL", "TRIGGERHUB_KAFKA_USERNAME"),
        ("TRIGGERHUB_LOG_LEVEL", "loud", "'debug', 'info', 'warning' or 'error'"),
    ],
)
def test_bad_values_are_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError, match=says):
        Settings()


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_sasl_reaches_the_client(monkeypatch: pytest.MonkeyPatch, mechanism: str) -> None:
    monkeypatch.setenv("TRIGGERHUB_KAFKA_SECURITY_PROTOCOL", "SASL_SSL")
    monkeypatch.setenv("TRIGGERHUB_KAFKA_SASL_MECHANISM", mechanism)
    monkeypatch.setenv("TRIGGERHUB_KAFKA_USERNAME", "hub")
    monkeypatch.setenv("TRIGGERHUB_KAFKA_PASSWORD", "invented")
    made = security(Settings())
    assert made is not None
    assert made.use_ssl
    assert made.ssl_context is not None

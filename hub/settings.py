"""Settings from the environment (design §4.5), checked when built. Must not open anything."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from connectors.room import MEGABYTE, Limits

STUCK_SECONDS: Final = 45.0
"""With the time between two looks, a wedged role shows within a minute."""
STATE_FOLDER = Path(".triggerhub")


class Settings(BaseSettings):
    """Everything that is set by environment variables."""

    model_config = SettingsConfigDict(
        env_prefix="TRIGGERHUB_", frozen=True, extra="ignore", populate_by_name=True
    )

    config: Path = Path("triggerhub.yaml")
    """File or folder with connections, agents and rules."""
    database_url: str = f"sqlite:///{STATE_FOLDER}/hub.db"
    kafka_bootstrap_servers: str | None = None
    """`host:port,host:port`; None starts the embedded broker."""
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    kafka_username: str | None = None
    kafka_password: SecretStr | None = None
    kafka_ssl_ca_file: Path | None = None
    """Certificates to trust; None trusts the system's."""
    kafka_replication_factor: int = Field(default=-1, ge=-1)
    """For topics that triggerhub creates; -1 leaves it to the broker's default."""
    kafka_partitions: int | None = Field(default=None, ge=1, le=1000)
    """For topics that triggerhub creates; None takes the topic table's number."""
    session_creates_per_minute: int = Field(default=60, ge=1)
    session_reads_per_minute: int = Field(default=600, ge=1)
    intake_deliveries: int = Field(default=5000, ge=1)
    """Webhooks that one process has in memory at once, from the first byte of the body until they are stored."""
    intake_megabytes: int = Field(default=128, ge=1)
    """What they may take together."""
    intake_share: float = Field(default=0.5, gt=0, le=1)
    """Of both, what one connection may have."""
    max_runs: int = Field(default=2000, ge=1)
    """Runs that one runner process follows at once."""
    run_lease_seconds: float = Field(default=30.0, ge=2)
    """How long a run belongs to a runner that was not heard of: the wait after one of several crashed."""
    result_lease_seconds: float = Field(default=90.0, ge=6)
    """The same for a post and its poster. An attempt at a post gets two thirds of it."""
    healing_interval_seconds: float = Field(default=600.0, ge=1)
    """Between two looks at a vendor for what it could not deliver."""
    stuck_seconds: float = Field(default=STUCK_SECONDS, ge=1, le=600)
    """How long a role may do nothing, though there is something to do, before `/readyz` says so."""
    canary: bool = False
    """Whether canaries are sent for every connection that does not say otherwise."""
    canary_seconds: float = Field(default=60.0, ge=1, le=3600)
    """Between two canaries of a connection."""
    api_token: SecretStr | None = None
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "console", "json"] = "auto"
    """`auto`: console on a terminal, JSON elsewhere."""
    anthropic_api_key: SecretStr | None = Field(default=None, validation_alias="ANTHROPIC_API_KEY")
    anthropic_base_url: str | None = Field(default=None, validation_alias="ANTHROPIC_BASE_URL")

    @field_validator("database_url")
    @classmethod
    def _database(cls, value: str) -> str:
        if not value.startswith(("sqlite:///", "postgresql://", "postgresql+asyncpg://")):
            scheme = value.partition(":")[0]
            msg = f"TRIGGERHUB_DATABASE_URL begins with {scheme!r}; use sqlite:///FILE or postgresql://USER@HOST/NAME"
            raise ValueError(msg)
        return value

    @field_validator("kafka_bootstrap_servers", "anthropic_base_url", mode="before")
    @classmethod
    def _empty_is_unset(cls, value: object) -> object:
        return None if value == "" else value

    @model_validator(mode="after")
    def _sasl(self) -> Settings:
        if self.kafka_security_protocol.startswith("SASL") and not (
            self.kafka_username and self.kafka_password
        ):
            msg = (
                f"TRIGGERHUB_KAFKA_SECURITY_PROTOCOL={self.kafka_security_protocol} needs "
                "TRIGGERHUB_KAFKA_USERNAME and TRIGGERHUB_KAFKA_PASSWORD"
            )
            raise ValueError(msg)
        return self

    @property
    def intake_limits(self) -> Limits:
        return Limits(self.intake_deliveries, self.intake_megabytes * MEGABYTE, self.intake_share)

    @property
    def embedded_broker(self) -> bool:
        return self.kafka_bootstrap_servers is None

    @property
    def bootstrap_servers(self) -> list[str]:
        return [
            server.strip() for server in (self.kafka_bootstrap_servers or "").split(",") if server.strip()
        ]

    @property
    def sqlite(self) -> bool:
        return self.database_url.startswith("sqlite:")

"""Saying why the database or the broker cannot be used, naming the setting and never a password."""

from __future__ import annotations

from sqlalchemy import make_url
from sqlalchemy.exc import SQLAlchemyError

from hub.settings import Settings
from storage.database import StorageUnavailableError

MAX_CAUSE = 200


def shown_database(url: str) -> str:
    """The database's URL without its password."""
    return make_url(url).render_as_string(hide_password=True)


def is_database_error(error: BaseException) -> bool:
    """Whether the database is to blame. A refusal while connecting comes from the driver unwrapped."""
    return isinstance(error, StorageUnavailableError | SQLAlchemyError) or type(error).__module__.startswith(
        "asyncpg."
    )


def database_reason(error: BaseException, url: str) -> str:
    """Why the database at `url` cannot be used. The statement and its parameters stay out of it."""
    cause = getattr(error, "orig", None) or error
    text = (str(cause).splitlines() or [type(cause).__name__])[0][:MAX_CAUSE]
    password = make_url(url).password
    if password:
        text = text.replace(str(password), "***")
    shown = shown_database(url)
    return f"the database {shown} cannot be used ({text}); check TRIGGERHUB_DATABASE_URL and that it is up"


def broker_reason(error: BaseException, settings: Settings) -> str:
    """Why the broker cannot be used."""
    name = type(error).__name__
    if settings.embedded_broker:
        return f"the embedded broker does not answer ({name}); start again, or use an Apache Kafka"
    return (
        f"Kafka at {settings.kafka_bootstrap_servers} does not answer ({name}); "
        "check TRIGGERHUB_KAFKA_BOOTSTRAP_SERVERS and the security settings beside it"
    )

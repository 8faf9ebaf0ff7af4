"""Hub and sandbox as processes of their own, which tests start, kill and start again on the same address.

Run as a script, this file *is* the hub's process: `running_hub` as `triggerhub up` runs it, plus switches that put a
forgetful part in place (`--without`) and a limit on file sizes (`--file-limit`, a full disk); or, with `--nursery`, the
process from which the hubs of one set-up are forked; or, with `--command`, one of `triggerhub`'s commands; or,
with `--sandbox`, what `python -m sandbox` is. No test runs here.
"""

from __future__ import annotations

import argparse
import asyncio
import atexit
import contextlib
import functools
import os
import re
import resource
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import httpx
from nursery import Life, Nursery, serve
from services.children import free_ports, own_folder

ROOT: Final = Path(__file__).resolve().parents[1]
START_SECONDS: Final = 60.0
STARTED: Final = "the hub has started"
"""Written to the log by a hub whose every part runs."""
SWITCHES: Final = ("find", "reconcile", "dedup", "sweep", "fence")
"""find: an earlier post is never found. reconcile: neither a session nor a message of an earlier attempt is ever found.
dedup: every delivery is taken for a new one. sweep: the outbox is never swept. fence: a worker neither gives up what it
lost nor is kept from writing it (`forgetful`)."""
_ONE: Final = threading.Lock()
_ERROR: Final = re.compile(r"^[ |]*[\w.]*(?:Error|Exception): ")


class Process:
    """A process that answers HTTP on a port it keeps through every life."""

    def __init__(
        self, name: str, command: Sequence[str], *, environment: Mapping[str, str], folder: Path
    ) -> None:
        self.name = name
        self.port = free_ports(1)[0]
        self.folder = folder
        self.lives = 0
        self._command = [*command, "--port", str(self.port)]
        self._environment = {**inherited(), **environment}
        self._process: Life | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Of the current life. Raises RuntimeError when it does not run."""
        if self._process is None or self._process.poll() is not None:
            msg = f"{self.name} does not run; the end of its log:\n{self.log_tail()}"
            raise RuntimeError(msg)
        return self._process.pid

    @property
    def log(self) -> Path:
        """Of the current life, or the last one."""
        return self.folder / f"{self.name}.{self.lives}.log"

    def start(self, *further: str) -> None:
        """Begin a life; returns at once."""
        self.lives += 1
        arguments = [*self._command, *further]
        self._process = hub_nursery().begin(arguments, environment=self._environment, log=self.log)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self, *, seconds: float = 30) -> int:
        """SIGTERM, and wait; SIGKILL after so long. Returns the exit code."""
        if self._process is None:
            return 0
        self._process.terminate()
        try:
            return self._process.wait(seconds)
        except TimeoutError:
            self.kill()
            return self._process.wait()

    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def log_tail(self, lines: int = 15) -> str:
        """The end of the current log."""
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    async def answering(self, path: str = "/livez", *, seconds: float = START_SECONDS) -> None:
        """Wait until it answers 2xx there. Raises RuntimeError with the end of its log when it dies or takes too
        long."""
        until = time.monotonic() + seconds
        async with httpx.AsyncClient(timeout=5, trust_env=False) as http:
            while True:
                with contextlib.suppress(httpx.HTTPError):
                    if (await http.get(self.url + path)).is_success:
                        return
                if not self.alive() or time.monotonic() > until:
                    msg = f"{self.name} did not answer at {path}; the end of its log:\n{self.log_tail()}"
                    raise RuntimeError(msg)
                await asyncio.sleep(0.02)


class HubProcess(Process):
    """A hub, or some of its roles."""

    def __init__(
        self,
        folder: Path,
        *,
        config: Path,
        environment: Mapping[str, str],
        roles: str = "",
        without: Sequence[str] = (),
        quick: bool = True,
        name: str = "",
    ) -> None:
        command = ["--config", str(config)]
        command += ["--roles", roles] if roles else []
        command += ["--quick"] if quick else []
        for switch in without:
            command += ["--without", switch]
        super().__init__(
            name or roles or "hub",
            command,
            environment=environment,
            folder=folder,
        )

    @property
    def started(self) -> bool:
        """Whether this life got as far as running."""
        return self.log.exists() and STARTED in self.log.read_text(errors="replace")

    def last_error(self) -> str:
        """The last exception in the log, in one line."""
        errors = [line for line in self.log_tail(400).splitlines() if _ERROR.match(line)]
        return errors[-1].strip(" |") if errors else self.log_tail(1)

    async def ready(self, *, seconds: float = START_SECONDS) -> None:
        """Wait until every check of `/readyz` is well."""
        await self.answering("/readyz", seconds=seconds)


class SandboxProcess(Process):
    """The outside world: it survives every death of a hub, and is the judge of what was done."""

    def __init__(self, folder: Path, *, create_missing: bool = True, pace: float | None = None) -> None:
        self.calls = folder / "calls.jsonl"
        command = ["--sandbox", "--log", str(self.calls)]
        command += ["--create-missing"] if create_missing else []
        command += ["--pace", str(pace)] if pace is not None else []
        super().__init__("sandbox", command, environment={}, folder=folder)

    def api_url(self, source: str) -> str:
        """Base of a vendor's API, as a connection's `api_url`."""
        return f"{self.url}/{source}"

    @property
    def anthropic_url(self) -> str:
        return f"{self.url}/anthropic"

    async def up(self) -> None:
        """Start it and wait until it answers."""
        self.start()
        await self.answering("/_sandbox/faults")

    async def get(self, path: str) -> Any:
        """A page below the sandbox's root, decoded."""
        async with httpx.AsyncClient(timeout=60, trust_env=False) as http:
            return (await http.get(self.url + path)).raise_for_status().json()

    async def post(self, path: str, /, **body: Any) -> Any:
        """Ask for something: a fault, an issue, a setting."""
        async with httpx.AsyncClient(timeout=60, trust_env=False) as http:
            return (await http.post(self.url + path, json=body)).raise_for_status().json()

    async def fault(self, mode: str, /, **fields: Any) -> Any:
        """Ask for a fault (`sandbox.faults`)."""
        return await self.post("/_sandbox/faults", mode=mode, **fields)

    async def struck(self, mode: str) -> bool:
        """Whether every fault of this mode that was asked for has been used."""
        return all(fault["mode"] != mode for fault in (await self.get("/_sandbox/faults"))["faults"])

    async def calm(self) -> None:
        """Remove every fault."""
        async with httpx.AsyncClient(timeout=60, trust_env=False) as http:
            (await http.delete(f"{self.url}/_sandbox/faults")).raise_for_status()

    async def state(self) -> dict[str, Any]:
        """Everything it remembers, by service."""
        found: dict[str, Any] = await self.get("/_sandbox/state")
        return found

    async def work(self) -> list[dict[str, Any]]:
        """Every piece of work a session was given, in order."""
        found: list[dict[str, Any]] = (await self.get("/anthropic/_emu/work"))["data"]
        return found


def hub_environment(
    *, database_url: str, sandbox: SandboxProcess, secrets: Mapping[str, str], **settings: Any
) -> dict[str, str]:
    """The environment of a hub that talks to the sandbox. Further settings by their lower-case names."""
    return {
        "TRIGGERHUB_DATABASE_URL": database_url,
        "TRIGGERHUB_LOG_FORMAT": "json",
        "ANTHROPIC_API_KEY": "sandbox-key",
        "ANTHROPIC_BASE_URL": sandbox.anthropic_url,
        **{f"TRIGGERHUB_{name.upper()}": str(value) for name, value in settings.items()},
        **secrets,
    }


def hub_nursery() -> Nursery:
    """Where the hubs, sandboxes and commands of this test session are born. It ends with the session."""
    with _ONE:  # two threads may ask for the first life
        return _nursery()


@functools.cache
def _nursery() -> Nursery:
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    nursery = Nursery(own_folder("nursery"), environment={**inherited(), "PYTHONPATH": paths})
    atexit.register(nursery.close)
    return nursery


def inherited() -> dict[str, str]:
    """What a process of a test keeps of this one's environment."""
    return {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}


# The hub's process ----------------------------------------------------------------------------------------------------


def main(arguments: Sequence[str]) -> None:
    """Be a hub until SIGTERM, or a nursery, a command or a sandbox."""
    if arguments[:1] == ["--sandbox"]:
        from sandbox.__main__ import main as be_sandbox  # noqa: PLC0415 - the nursery has it

        be_sandbox(list(arguments[1:]))
        return
    if arguments[:1] == ["--command"]:
        from hub import cli  # noqa: PLC0415 - the nursery has it

        sys.argv = ["triggerhub", *arguments[1:]]
        cli.main()
        return
    if arguments[:1] == ["--nursery"]:
        import hub.api  # noqa: PLC0415 - what follows is imported for all lives together
        import hub.asyncapi  # noqa: PLC0415
        import hub.cli  # noqa: PLC0415
        import hub.hub  # noqa: F401, PLC0415
        import sandbox.__main__  # noqa: F401, PLC0415

        serve(arguments[1], main)
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--roles", default="")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--without", action="append", choices=SWITCHES, default=[])
    parser.add_argument("--quick", action="store_true", help="with short waits, for tests that kill often")
    parser.add_argument("--file-limit", type=int, help="bytes that no file may grow beyond: a full disk")
    chosen = parser.parse_args(arguments)
    if chosen.file_limit is not None:
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (chosen.file_limit, hard))
    asyncio.run(_serve(chosen))


async def _serve(chosen: argparse.Namespace) -> None:
    from forgetful import forgetful_makers  # noqa: PLC0415 - the parent needs none of the hub

    from hub.configuration import load_configuration  # noqa: PLC0415
    from hub.hub import running_hub  # noqa: PLC0415
    from hub.logs import set_up_logs  # noqa: PLC0415
    from hub.parts import ROLES  # noqa: PLC0415
    from hub.settings import Settings  # noqa: PLC0415

    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    settings = Settings.model_validate({"config": chosen.config})
    set_up_logs(settings.log_level, style="json")
    roles = frozenset(chosen.roles.split(",")) if chosen.roles else frozenset(ROLES)
    loaded = load_configuration(chosen.config)
    makers = forgetful_makers(chosen.without, quick=chosen.quick)
    async with running_hub(settings, loaded, roles=roles, port=chosen.port, makers=makers):
        sys.stdout.write(STARTED + "\n")
        sys.stdout.flush()
        await stop.wait()


if __name__ == "__main__":
    main(sys.argv[1:])

"""The README's "Your first webhook", step by step as a newcomer does it: its files are saved, its commands are run.

Two things differ from the page: the ports (free ones are taken), and patience (what needs a moment is asked again).
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pages import ROOT, Block, blocks

SECONDS = 60.0
HEADING = "## Your first webhook"


def chapter() -> list[Block]:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    begin = text[: text.index(HEADING)].count("\n")
    end = begin + text[text.index(HEADING) + 3 :].partition("\n## ")[0].count("\n")
    return [block for block in blocks(ROOT / "README.md") if begin < block.line <= end]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Newcomer:
    """Somebody in an empty folder with three terminals."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sandbox_port = free_port()
        self.hub_port = free_port()
        self.running: list[subprocess.Popen[bytes]] = []
        self.before = ""
        """What the third terminal keeps from earlier commands."""
        binaries = Path(sys.executable).parent
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("TRIGGERHUB_", "ANTHROPIC_"))
        }
        self.shell = shutil.which("bash") or "/bin/bash"
        self.environment = {**kept, "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}"}

    def adapted(self, text: str) -> str:
        text = text.replace("9090", str(self.sandbox_port))
        text = re.sub(r"^triggerhub up$", f"triggerhub up --port {self.hub_port}", text, flags=re.MULTILINE)
        hook = f"http://127.0.0.1:{self.hub_port}/hooks/my-github"
        return re.sub(r"^triggerhub send ", f"triggerhub send --url {hook} ", text, flags=re.MULTILINE)

    def save(self, block: Block) -> None:
        assert block.file is not None
        (self.folder / block.file).write_text(self.adapted(block.text), encoding="utf-8")

    def type(self, text: str) -> subprocess.CompletedProcess[str]:
        if ". ./env.sh" in text:
            self.before = ". ./env.sh\n"
        return subprocess.run(
            [self.shell, "-c", f"set -e\n{self.before}{self.adapted(text)}"],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    def leave_running(self, text: str, *, log: str) -> None:
        with (self.folder / log).open("wb") as stream:
            self.running.append(
                subprocess.Popen(
                    [self.shell, "-c", f"set -e\n{self.adapted(text)}"],
                    cwd=self.folder,
                    env=self.environment,
                    stdout=stream,
                    stderr=stream,
                    start_new_session=True,
                )
            )

    def go_home(self) -> None:
        for process in self.running:
            os.killpg(process.pid, signal.SIGTERM)
        for process in self.running:
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(10)


@pytest.fixture
def newcomer(tmp_path: Path) -> Iterator[Newcomer]:
    person = Newcomer(tmp_path)
    yield person
    person.go_home()


def until(question: Callable[[], bool], *, what: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not question():
        assert time.monotonic() < deadline, f"{what}: not within {SECONDS:.0f} s"
        time.sleep(0.3)


def answers(url: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=2) as response:
            return bool(response.status == 200)
    except OSError:
        return False


@pytest.mark.long(30)
@pytest.mark.timeout(300)
def test_the_first_webhook(newcomer: Newcomer) -> None:
    steps = chapter()
    saved = [block for block in steps if block.file]
    assert {block.file for block in saved} == {
        "triggerhub.yaml",
        "env.sh",
        "issue.json",
        "issue.headers.json",
    }
    for block in saved:
        newcomer.save(block)
    typed = [block for block in steps if block.language == "sh" and not block.file]
    install, check, sandbox, up, send, why, again = (block.text for block in typed)
    (shown,) = [block.text for block in steps if block.language == "text"]

    assert install.splitlines() == ["make install", ". .venv/bin/activate"]
    checked = newcomer.type(check)
    assert checked.returncode == 0, checked.stderr
    assert "is valid" in checked.stdout

    newcomer.leave_running(sandbox, log="sandbox.log")
    until(lambda: answers(f"http://127.0.0.1:{newcomer.sandbox_port}/_sandbox/log"), what="the sandbox is up")
    newcomer.leave_running(up, log="hub.log")
    until(lambda: answers(f"http://127.0.0.1:{newcomer.hub_port}/readyz"), what="the hub is ready")

    sent = newcomer.type(send)
    assert sent.returncode == 0, sent.stderr
    first = why.split()[-1]
    assert first in sent.stdout
    until(lambda: shown.strip() in newcomer.type(why).stdout, what="why tells what the page shows")

    sent = newcomer.type(again)
    assert sent.returncode == 0, sent.stderr
    second = re.search(r"evt_[0-9a-f]{32}", sent.stdout)
    assert second is not None
    assert second[0] != first
    until(lambda: "succeeded" in newcomer.type("triggerhub runs list").stdout, what="the run succeeds")
    listed = newcomer.type("triggerhub runs list").stdout
    assert listed.count("run_") == 1

    told = newcomer.type(f"triggerhub why {second[0]}").stdout
    assert "triage: matched" in told
    assert re.search(r"session sesn_\w+, cost \$", told)
    assert re.search(r"comment \(final\) to my-github: posted, https://\S+/acme/checkout/issues/7#", told)

    asked = newcomer.type("triggerhub rules test --source github issue.json")
    assert asked.returncode == 0, asked.stderr
    assert "1 of 1 rules match" in asked.stdout

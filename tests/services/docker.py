"""Containers, where Docker answers. A container keeps its host port when it is killed and started again."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import warnings
from collections.abc import Mapping
from typing import Any

from services.children import free_ports


def docker_answers() -> bool:
    """True when a Docker daemon can be used from here."""
    program = shutil.which("docker")
    if program is None:
        return False
    try:
        asked = subprocess.run(
            [program, "version", "--format", "{{.Server.Version}}"],
            capture_output=True,
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return asked.returncode == 0


class Container:
    """One container with one published port on loopback."""

    def __init__(
        self, image: str, *, inner_port: int, port: int | None = None, environment: Mapping[str, str]
    ) -> None:
        with _their_warnings():
            from testcontainers.core.container import DockerContainer  # noqa: PLC0415 - slow to import

            self.port = port or free_ports(1)[0]
            self._container = DockerContainer(image).with_bind_ports(inner_port, self.port)
            for name, value in environment.items():
                self._container.with_env(name, value)
            self._container.start()

    @property
    def _raw(self) -> Any:
        return self._container.get_wrapped_container()

    def kill(self) -> None:
        """SIGKILL."""
        self._raw.kill()

    def restart(self) -> None:
        """Start again after `kill`, on the same data and port."""
        self._raw.start()

    def close(self) -> None:
        """Remove it."""
        with _their_warnings():
            self._container.stop()


@contextlib.contextmanager
def _their_warnings() -> Any:
    """Warnings of these packages are not ours to repair, and a test session turns warnings into errors."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield

"""Child Python processes of tests: they run a script with our packages importable and talk in lines."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]


class Child:
    """A running script. What it prints is read line by line."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def line(self, *, seconds: float = 30) -> str:
        """Its next line. Raises RuntimeError when it ended instead."""
        assert self.process.stdout is not None
        async with asyncio.timeout(seconds):
            found = await self.process.stdout.readline()
        if not found:
            code = await self.process.wait()
            msg = f"the child ended with exit code {code} instead of printing a line"
            raise RuntimeError(msg)
        return found.decode().rstrip("\n")

    async def ended(self, *, seconds: float = 60) -> int:
        """Wait for its end and return the exit code."""
        async with asyncio.timeout(seconds):
            return await self.process.wait()


@asynccontextmanager
async def child(
    script: str, *arguments: str, environment: Mapping[str, str] | None = None
) -> AsyncIterator[Child]:
    """Run `script` in a new interpreter; it is killed at the end of the block if it still lives."""
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        script,
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": paths, "PYTHONUNBUFFERED": "1", **(environment or {})},
    )
    try:
        yield Child(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()

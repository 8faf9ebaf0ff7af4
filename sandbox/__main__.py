"""`python -m sandbox --port N`: the sandbox as a process of its own. The first line printed is its URL."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from pathlib import Path

from sandbox.server import serve
from sandbox.world import World


def main(arguments: list[str] | None = None) -> int:
    """Run until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m sandbox", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 (the default) lets the system choose")
    parser.add_argument("--log", type=Path, help="append every call to this file, one JSON object per line")
    parser.add_argument(
        "--create-missing",
        action="store_true",
        help="let repositories, issues and channels come into being when first named",
    )
    parser.add_argument("--pace", type=float, help="seconds between two steps of an emulated agent")
    chosen = parser.parse_args(arguments)
    world = World(create_missing=chosen.create_missing, log_file=chosen.log, pace=chosen.pace)
    asyncio.run(_run(chosen.host, chosen.port, world))
    return 0


async def _run(host: str, port: int, world: World) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with serve(port, host, world=world) as sandbox:
        sys.stdout.write(sandbox.url + "\n")
        sys.stdout.flush()
        await stop.wait()


if __name__ == "__main__":
    sys.exit(main())

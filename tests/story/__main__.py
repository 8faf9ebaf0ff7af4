"""`python -m tests.story`: draws `docs/pictures/story.svg` anew, after the story or what is quoted of it has changed.
`python -m tests.story --seed S [S …]` tells the story instead, with the kills that each seed decides, on both set-ups one
after the other; exit 1 when anything was violated.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # as pytest does: `story`, `crash`, `services`

from crash.cluster import cluster
from crash.setups import SetUp, embedded
from services.kafka import start_kafka
from services.postgres import start_postgres

from story.picture import PICTURE, draw
from story.steps import STORY
from story.tale import follow
from story.telling import deaths, tell


def main() -> int:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.story", description=__doc__)
    parser.add_argument("--seed", type=int, nargs="+", help="tell the story; without, its picture is drawn")
    parser.add_argument("--kills", type=int, default=10, help="of each telling")
    parser.add_argument("--setup", choices=("embedded", "cluster"), help="both where not given")
    chosen = parser.parse_args()
    if chosen.seed is None:
        PICTURE.parent.mkdir(parents=True, exist_ok=True)
        PICTURE.write_text(draw(), encoding="utf-8")
        return 0
    return asyncio.run(_tell(chosen))


async def _tell(chosen: argparse.Namespace) -> int:
    violated = 0
    async with AsyncExitStack() as stack:
        if chosen.setup != "embedded":
            kafka = await asyncio.to_thread(start_kafka)
            stack.push_async_callback(asyncio.to_thread, kafka.close)
            postgres = await asyncio.to_thread(start_postgres)
            stack.push_async_callback(asyncio.to_thread, postgres.close)
        for seed in chosen.seed:
            if chosen.setup != "cluster":
                async with embedded(edit=follow) as setup:
                    violated += await _once(setup, seed=seed, kills=chosen.kills)
            if chosen.setup != "embedded":
                async with cluster(kafka, postgres, edit=follow) as setup:
                    violated += await _once(setup, seed=seed, kills=chosen.kills)
    return 1 if violated else 0


async def _once(setup: SetUp, *, seed: int, kills: int) -> bool:
    """Tell it and say how it went. Whether anything was violated; then the logs are kept."""
    began = time.monotonic()
    try:
        telling = await tell(setup, seed=seed, kills=kills)
        found = list(telling.violations)
    except* AssertionError as errors:
        found = [str(error) for error in _flat(errors)]
    says = f"{len(STORY)} steps, {kills} kills, {time.monotonic() - began:.0f} s"
    sys.stdout.write(f"{setup.name}, seed {seed}: {says}: {'violated' if found else 'all as it should be'}\n")
    if found:
        kept = setup.folder.with_name(f"{setup.folder.name}-seed{seed}.kept")
        shutil.copytree(setup.folder, kept, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.sock"))
        killed = "; ".join(
            f"{one.target} {one.after:.2f} s after step {one.step + 1} began"
            for one in deaths(setup, seed=seed, kills=kills)
        )
        sys.stdout.writelines(f"  {line}\n" for line in [*found, f"killed: {killed}", f"logs: {kept}"])
    sys.stdout.flush()
    return bool(found)


def _flat(errors: BaseExceptionGroup[AssertionError]) -> list[AssertionError]:
    return [
        error
        for one in errors.exceptions
        for error in (_flat(one) if isinstance(one, BaseExceptionGroup) else [one])
    ]


if __name__ == "__main__":
    sys.exit(main())

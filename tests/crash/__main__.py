"""`python -m tests.crash --seed S --kills K`: both set-ups, one after the other; exit 1 when anything was violated."""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
from pathlib import Path

sys.path.insert(
    0, str(Path(__file__).resolve().parents[1])
)  # as pytest does: `services`, `hub_process`, `crash`

from hub_process import SWITCHES
from services.kafka import start_kafka
from services.need import ServiceMissingError
from services.postgres import start_postgres

from crash.cluster import cluster
from crash.harness import STALL_SECONDS, Harness
from crash.report import Report, read_reports, totals
from crash.setups import SetUp, embedded
from crash.webhooks import Load


def main() -> int:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kills", type=int, default=60, help="of each set-up")
    parser.add_argument("--deliveries", type=int, help="of each set-up; ten for each kill where not given")
    parser.add_argument("--setup", choices=("embedded", "cluster"), help="both where not given")
    parser.add_argument("--matching", type=float, default=0.35, help="share of the facts that a rule wants")
    parser.add_argument(
        "--stall", type=float, default=STALL_SECONDS, help="seconds without progress while it settles"
    )
    parser.add_argument("--without", action="append", choices=SWITCHES, default=[], help="must then fail")
    parser.add_argument(
        "--presence", choices=("none", "seen", "status"), default="none", help="embedded only"
    )
    parser.add_argument("--report", type=Path, help="write the report here as well")
    parser.add_argument("--record", type=Path, help="add a line for each set-up to this file")
    parser.add_argument("--sum", type=Path, nargs="+", help="run nothing; print what these records add up to")
    chosen = parser.parse_args()
    if chosen.sum:
        reports = read_reports(chosen.sum)
        sys.stdout.write(
            "\n".join([line for one in reports for line in one.lines()] + totals(reports)) + "\n"
        )
        return 1 if any(one.violations for one in reports) else 0
    return asyncio.run(_main(chosen))


async def _main(chosen: argparse.Namespace) -> int:
    reports: list[Report] = []
    if chosen.setup != "cluster":
        async with embedded(without=chosen.without, presence=chosen.presence) as setup:
            reports.append(await _run(setup, chosen))
    if chosen.setup != "embedded":
        try:
            kafka = await asyncio.to_thread(start_kafka)
        except ServiceMissingError as error:
            sys.stderr.write(f"the cluster is left out: {error}\n")
            return 1
        try:
            postgres = await asyncio.to_thread(start_postgres)
            try:
                async with cluster(kafka, postgres, without=chosen.without) as setup:
                    reports.append(await _run(setup, chosen))
            finally:
                await asyncio.to_thread(postgres.close)
        finally:
            await asyncio.to_thread(kafka.close)
    if chosen.record is not None:
        with chosen.record.open("a", encoding="utf-8") as file:
            file.writelines(report.record() + "\n" for report in reports)
    text = "\n".join(line for report in reports for line in report.lines()) + "\n"
    sys.stdout.write(text)
    if chosen.report is not None:
        chosen.report.write_text(text, encoding="utf-8")
    return 1 if any(report.violations for report in reports) else 0


async def _run(setup: SetUp, chosen: argparse.Namespace) -> Report:
    load = Load(chosen.seed, chosen.deliveries or chosen.kills * 10, matching=chosen.matching)
    harness = Harness(setup, load, kills=chosen.kills, say=_say)
    report = await harness.run(stall=chosen.stall)
    if report.violations:
        kept = setup.folder.with_name(f"{setup.folder.name}-seed{chosen.seed}.kept")
        await asyncio.to_thread(shutil.copytree, setup.folder, kept, dirs_exist_ok=True)
        _say(f"the logs of every life are kept in {kept}")
    return report


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")


if __name__ == "__main__":
    sys.exit(main())

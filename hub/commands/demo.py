"""`triggerhub demo`: live progress while the scenarios run, a table at the end, and where to look next."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import time
from collections.abc import Sequence

from rich.console import Console, Group
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from hub.demo.progress import Standing
from hub.demo.run import Demo, demo_hub, play
from hub.logs import set_up_logs

_STATES = {
    "": "webhook accepted",
    "queued": "waiting for a runner",
    "creating": "opening a session",
    "sending": "sending the work",
    "running": "agent at work",
    "stopping": "stopping the agent",
    "reporting": "posting the answer",
    "succeeded": "done",
    "failed": "failed",
    "timed_out": "timed out",
    "cancelled": "cancelled",
}


def demo(*, once: bool) -> int:
    """Run the demo; return the exit code: 0 only if every scenario ended as it should."""
    set_up_logs("error", style="auto")
    console = Console(width=None if sys.stdout.isatty() else 120)
    try:
        return asyncio.run(_demo(console, once=once))
    except KeyboardInterrupt:
        return 130


async def _demo(console: Console, *, once: bool) -> int:
    began = time.monotonic()
    console.print(
        "[bold]triggerhub demo[/bold]: GitHub, Jira, Sentry, Slack and Managed Agents are emulated on this machine."
    )
    async with demo_hub() as running:
        console.print(
            f"Hub {running.hub.url}, sandbox {running.sandbox.url}: up after {time.monotonic() - began:.1f} s. "
            "Sending five signed webhooks."
        )
        console.print()
        standings = await _show(console, running)
        failed = [standing for standing in standings if standing.shortcomings]
        console.print(_table(standings))
        for standing in failed:
            console.print(f"[red]{standing.scenario.title}[/red]: {'; '.join(standing.shortcomings)}")
        seconds = time.monotonic() - began
        passed = len(standings) - len(failed)
        console.print(
            f"{passed} of {len(standings)} scenarios ended as they should, {seconds:.1f} s from start to last post."
        )
        _next_steps(console, running, standings, once=once)
        if not once:
            await _until_interrupted()
    return 1 if failed else 0


async def _show(console: Console, running: Demo) -> list[Standing]:
    if not console.is_terminal:
        said: dict[str, str] = {}

        def say(standings: Sequence[Standing]) -> None:
            for standing in standings:
                line = _STATES.get(standing.status, standing.status)
                if standing.posted:
                    line += f" ({sum(post.status == 'posted' for post in standing.posted)} posted)"
                if said.get(standing.scenario.name) != line:
                    said[standing.scenario.name] = line
                    console.print(f"  {standing.scenario.title}: {line}", highlight=False)

        return await play(running, show=say)
    with Live(console=console, refresh_per_second=12, transient=True) as live:
        return await play(running, show=lambda standings: live.update(_progress(standings)))


def _progress(standings: Sequence[Standing]) -> Group:
    lines: list[Text | Spinner] = []
    for standing in standings:
        state = _STATES.get(standing.status, standing.status)
        posted = ", ".join(post.output for post in standing.posted if post.status == "posted")
        text = Text.assemble((standing.scenario.title.ljust(36), "bold"), state, (f"  {posted}", "dim"))
        if standing.ended:
            mark = Text(
                "✓ " if not standing.shortcomings else "✗ ", "green" if not standing.shortcomings else "red"
            )
            lines.append(Text.assemble(mark, text))
        else:
            lines.append(Spinner("dots", text))
    return Group(*lines)


def _table(standings: Sequence[Standing]) -> Table:
    table = Table(title="What became of each webhook", title_justify="left", show_lines=True)
    table.add_column("webhook")
    table.add_column("rule")
    table.add_column("session")
    table.add_column("posted", overflow="fold")
    for standing in standings:
        posted = "\n".join(
            f"{post.output}  {post.url or ''}".rstrip()
            if post.status == "posted"
            else f"{post.output}  {post.status}: {post.error}"
            for post in standing.posted
        )
        cost = f"${standing.cost_cents / 100:.2f}" if standing.cost_cents is not None else "cost unknown"
        table.add_row(
            f"{standing.scenario.connection}\n{standing.answer}",
            f"{standing.scenario.rule}\n{standing.verdict}",
            f"{standing.session_id or 'none'}\n{standing.status}, {cost}",
            posted or "nothing",
        )
    return table


def _next_steps(console: Console, running: Demo, standings: Sequence[Standing], *, once: bool) -> None:
    event = next((standing.event_id for standing in standings if standing.event_id), "EVENT_ID")
    run = next((standing.run_id for standing in standings if standing.run_id), "RUN_ID")
    console.print()
    console.print("[bold]Where to look next[/bold]")
    command = "triggerhub" if shutil.which("triggerhub") else os.path.relpath(sys.argv[0])
    database = f"TRIGGERHUB_DATABASE_URL=sqlite:///{running.folder}/hub.db"
    console.print(f"  {database} {command} why {event}", highlight=False, soft_wrap=True)
    console.print(f"  {database} {command} runs show {run}", highlight=False, soft_wrap=True)
    console.print(
        f"  the rules that ran: {running.folder}/triggerhub.yaml, the same as in examples/", highlight=False
    )
    if not once:
        console.print(
            f"  every outside call: {running.sandbox.url}/_sandbox/log", highlight=False, soft_wrap=True
        )
        console.print(f"  the JSON API: {running.hub.url}/api/v1/runs", highlight=False, soft_wrap=True)
        console.print("The hub goes on running; Ctrl-C ends it.")


async def _until_interrupted() -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(number, stop.set)
    await stop.wait()

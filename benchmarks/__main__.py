"""`make bench`: every figure of design §6 beside its limit. `python -m benchmarks NAME…` runs some of them."""

from __future__ import annotations

import importlib
import sys

from rich.console import Console
from rich.table import Table

NAMES = ("accepts", "latency", "matching", "following", "demo")
ON_REQUEST = ("flood",)
"""Takes minutes, and is no figure of design §6."""


def main() -> int:
    """Print a table; exit 0 although a limit was missed: a busy machine is not a broken build."""
    console = Console(width=150 if not sys.stdout.isatty() else None)
    wanted = sys.argv[1:] or list(NAMES)
    table = Table(title="triggerhub benchmarks", title_justify="left")
    for column in ("figure", "measured", "limit", ""):
        table.add_column(column)
    for name in wanted:
        if name not in NAMES + ON_REQUEST:
            console.print(f"no benchmark is called {name!r}; there are {', '.join(NAMES + ON_REQUEST)}")
            return 2
        with console.status(f"measuring {name} …"):
            figures = importlib.import_module(f"benchmarks.{name}").measure()
        for figure in figures:
            table.add_row(
                figure.name, figure.value, figure.limit, "ok" if figure.met else "[red]missed[/red]"
            )
    console.print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The dependency audit: pinned packages against published advisories, by pip-audit. `make audit` runs it.

A package with an advisory fails. A package that the advisory source does not know, or a source that does not answer, is
said plainly and fails nothing: then this run says nothing about it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
SECONDS: Final = 300


def verdict(report: Mapping[str, Any] | None, *, said: str = "") -> tuple[int, list[str]]:
    """Exit code and lines for a report of pip-audit; None where it made none, having `said` this."""
    if report is None:
        return 0, [
            f"audit: the advisory source is unreachable, so nothing was audited ({said or 'no answer'})"
        ]
    packages = report["dependencies"]
    bad = [one for one in packages if one.get("vulns")]
    lines = [
        f"audit: {one['name']} {one['version']}: {vulnerability['id']}"
        + (
            f", repaired in {', '.join(vulnerability['fix_versions'])}"
            if vulnerability["fix_versions"]
            else ""
        )
        for one in bad
        for vulnerability in one["vulns"]
    ]
    unknown = [one["name"] for one in packages if "skip_reason" in one]
    if unknown and len(unknown) == len(packages):
        lines.append(
            "audit: the advisory source is unreachable: it answered for no package, so nothing was audited"
        )
    elif unknown:
        lines.append(
            f"audit: {len(unknown)} packages are unknown to the advisory source: {', '.join(unknown)}"
        )
    audited = len(packages) - len(unknown)
    if audited:
        lines.append(f"audit: {audited} of {len(packages)} packages were audited, {len(bad)} have advisories")
    return int(bool(bad)), lines


def main(program: str) -> int:
    """Run the audit with pip-audit's own command. Returns the exit code."""
    arguments = ["-r", str(ROOT / "constraints.txt"), "--no-deps", "--disable-pip", "-f", "json"]
    try:
        done = subprocess.run(
            [program, *arguments, "--progress-spinner", "off"],
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )
        report = json.loads(done.stdout)
        said = ""
    except (subprocess.TimeoutExpired, json.JSONDecodeError, OSError) as error:
        report, said = None, type(error).__name__
    code, lines = verdict(report, said=said)
    sys.stdout.write("\n".join(lines) + "\n")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

"""Apache Kafka as a Java class path, resolved once by Maven from `tests/kafka/pom.xml` and remembered."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

from services.need import ServiceMissingError

POM: Final = Path(__file__).resolve().parents[1] / "kafka" / "pom.xml"
CACHE: Final = Path(__file__).resolve().parents[2] / ".cache" / "kafka"


def class_path() -> str:
    """The class path. Raises ServiceMissingError where Java, Maven or the artefacts are not to be had."""
    for tool in ("java", "mvn"):
        if shutil.which(tool) is None:
            msg = f"there is no {tool} for running Apache Kafka without Docker"
            raise ServiceMissingError(msg)
    known = CACHE / f"{hashlib.sha256(POM.read_bytes()).hexdigest()[:16]}.classpath"
    if known.exists():
        found = known.read_text().strip()
        if all(Path(jar).exists() for jar in found.split(os.pathsep)):
            return found
    CACHE.mkdir(parents=True, exist_ok=True)
    fresh = known.with_suffix(f".{os.getpid()}")
    command = ["mvn", "-q", "-B", "-f", str(POM), "dependency:build-classpath"]
    ended = subprocess.run(
        [*command, "-DincludeScope=runtime", f"-Dmdep.outputFile={fresh}"],
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode != 0 or not fresh.exists():
        tail = " ".join(ended.stdout.split())[-300:]
        msg = f"Maven could not resolve Apache Kafka from {POM.name} (exit code {ended.returncode}): {tail}"
        raise ServiceMissingError(msg)
    fresh.replace(known)
    return known.read_text().strip()

"""Security that can be read: where secrets are compared, containers, the audit's verdict, SECURITY.md and its tests."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from audit import verdict
from pages import ROOT

from connectors.signatures import same_as_one
from schemas.redaction import keep_secret, without_secrets

PACKAGES = ("schemas", "storage", "connectors", "router", "runner", "hub")
COMPARING = ["connectors/signatures.py", "schemas/marker.py"]
"""What others sign, and what the hub itself signed: `schemas` knows no connector, and a marker has one key."""


def sources() -> dict[str, str]:
    return {
        str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
    }


def test_secrets_are_compared_in_two_places_in_constant_time() -> None:
    assert sorted(name for name, text in sources().items() if "compare_digest" in text) == COMPARING
    users = {name for name, text in sources().items() if re.search(r"\b(same_as_one|check_hex)\(", text)}
    verifying = {str(path.relative_to(ROOT)) for path in (ROOT / "connectors").glob("*/verify.py")}
    assert users == verifying | {"connectors/signatures.py", "hub/api_access.py"}


def test_the_one_comparison_tries_every_secret() -> None:
    tried: list[bytes] = []

    def live() -> Any:
        for value in (b"new", b"old", b"other"):
            tried.append(value)
            yield value

    assert same_as_one(b"new", live())
    assert tried == [b"new", b"old", b"other"], "all of them, though the first was right"
    assert not same_as_one(b"ne", [b"new"])
    assert not same_as_one(b"", [])


def test_known_secrets_are_blotted_out_the_longest_first() -> None:
    keep_secret(["invented-secret-1", "invented-secret-1-and-more", "  invented-with-blanks\n", "ab"])
    told = without_secrets("x invented-secret-1-and-more y invented-secret-1 z invented-with-blanks ab")
    assert told == "x [secret] y [secret] z [secret] ab"


def test_containers_run_as_nobody_on_a_file_system_that_cannot_be_written() -> None:
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
    ours = {name: one for name, one in compose["services"].items() if "build" in one}
    assert set(ours) == {"ingress", "router", "runner", "poster", "web"}
    for name, service in ours.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert "privileged" not in service, name
        assert "user" not in service, f"{name}: the image's own user"
        writable = [mount for mount in service["volumes"] if not mount.endswith(":ro")]
        assert writable == [], name
        assert set(service["tmpfs"]) == {"/tmp", "/var/lib/triggerhub"}, name
    assert "TRIGGERHUB_API_TOKEN" in ours["web"]["environment"]
    assert ours["web"]["ports"] == ["127.0.0.1:8081:8080"]


def test_the_image_ends_as_a_user_with_a_number() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    final = dockerfile.rpartition("\nFROM ")[2]
    users = re.findall(r"^USER (\S+)$", final, re.MULTILINE)
    assert users == ["10001:10001"]
    assert final.index("USER ") > final.rindex("RUN "), "nothing is run as root after it"
    assert not re.search(r"(?i)(token|secret|password|key)=", dockerfile)


@pytest.mark.parametrize(
    ("report", "code", "said"),
    [
        (None, 0, "unreachable"),
        ({"dependencies": [{"name": "a", "skip_reason": "not found"}]}, 0, "unreachable"),
        ({"dependencies": [{"name": "a", "version": "1", "vulns": []}]}, 0, "1 of 1 packages were audited"),
        (
            {
                "dependencies": [
                    {"name": "a", "version": "1", "vulns": [{"id": "X-1", "fix_versions": ["2"]}]},
                    {"name": "b", "skip_reason": "not found"},
                ]
            },
            1,
            "a 1: X-1, repaired in 2",
        ),
    ],
)
def test_the_audit_fails_for_a_finding_and_says_what_it_could_not_see(
    report: Any, code: int, said: str
) -> None:
    ended, lines = verdict(report)
    assert ended == code
    assert any(said in line for line in lines)


def test_continuous_integration_audits() -> None:
    assert re.search(r"^make audit$", (ROOT / ".ci" / "run").read_text(encoding="utf-8"), re.MULTILINE)


def test_every_test_that_the_threat_model_names_exists() -> None:
    page = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", page)
    assert len(named) > 15
    for file, test in named:
        path = ROOT / file
        assert path.is_file(), file
        if test:
            text = path.read_text(encoding="utf-8")
            assert re.search(rf"^(async )?def {test}\(", text, re.MULTILINE), f"{file}::{test}"


def test_the_threat_model_answers_what_it_must() -> None:
    page = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    table = page.partition("## Threats")[2].partition("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("| ") and not line.startswith("| threat")]
    for threat in (
        "forged webhook",
        "replayed webhook",
        "Text that gives the agent orders",
        "malicious repository",
        "leaked token",
        "curious teammate",
    ):
        [row] = [row for row in rows if threat in row.split("|")[1]]
        assert "`tests/" in row, f"{threat}: no test is named"

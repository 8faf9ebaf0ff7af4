"""Reports survive their file, and add up."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from crash.report import Report, read_reports, totals


def test_records_are_read_as_they_were_written_and_added_up(tmp_path: Path) -> None:
    one = Report(
        "embedded", 1, Path("one"), deliveries=10, kills=Counter(hub=3), others=Counter({"full disk": 1})
    )
    two = Report("cluster", 2, Path("two"), deliveries=5, kills=Counter(kafka=2), violations=["something"])
    file = tmp_path / "records"
    file.write_text(one.record() + "\n" + two.record() + "\n")
    assert read_reports([file]) == [two, one]
    cluster, embedded, both = totals([one, two])
    assert cluster.startswith("cluster: 1 runs, 1 failed; 2 kills, 0 other faults; 5 deliveries")
    assert embedded.startswith("embedded: 1 runs, 0 failed; 3 kills, 1 other faults; 10 deliveries")
    assert both.startswith("both: 2 runs, 1 failed; 5 kills, 1 other faults; 15 deliveries")
    assert both.endswith("1 violations")

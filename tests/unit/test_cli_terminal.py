"""How commands speak: nothing from outside may move the cursor, and tables in a pipe are whole."""

from __future__ import annotations

import pytest

from hub.commands import terminal


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("two\nlines", "two lines"),
        ("\x1b]0;title\x07", "\ufffd]0;title\ufffd"),
        ("a\x9b31mb", "a\ufffd31mb"),
        ("over\rwritten", "over\ufffdwritten"),
        ("left\u202eright", "left\ufffdright"),
        ("tab\tstays", "tab\tstays"),
    ],
)
def test_control_characters_are_replaced(text: str, shown: str) -> None:
    assert terminal.visible(text) == shown


def test_line_breaks_stay_where_lines_are_wanted() -> None:
    assert terminal.visible("a\r\nb\nc", lines=True) == "a\nb\nc"


def test_a_table_in_a_pipe_is_lined_up_and_never_cut(capsys: pytest.CaptureFixture[str]) -> None:
    long = "x" * 300
    terminal.table(
        ("rule", "status"), [("answer", "matched"), (long, None), ("\x1b[2J", "a\nb")], states="status"
    )
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert lines[0] == "rule".ljust(300) + "  status"
    assert lines[2] == long + "  -"
    assert lines[3].split() == ["\ufffd[2J", "a", "b"]


def test_an_empty_table_says_so_beside_the_result(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.table(("rule",), [])
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "none\n")


def test_a_file_name_that_is_no_text_can_be_printed(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.emit("caf\udce9.json")
    assert capsys.readouterr().out == "caf\\udce9.json\n"

"""What Markdown shows and hides: nothing hidden is left, nothing shown is lost, in time that grows with the text."""

from __future__ import annotations

import time
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from connectors.base import Fact
from connectors.github.mentions import read_mentions
from connectors.markers import marker
from connectors.shown import MAX_MARKS, MAX_PARSED, as_shown, shown
from schemas.event import Actor, Subject
from schemas.marker import Marker

HIDDEN = [
    "Nice.\n\n<!-- @t -->",
    "a <!-- @t --> b",
    "a <!--\n@t\n--> b",
    "<!-- <!-- @t --> seen",
    "<!-- `--` ``` @t -->",
    "<!--\n```\n@t\n```\n-->",
    "<!--\n@t\n\nand all that follows",
    "> a <!-- @t\n> x --> b",
    "- a\n  <!-- @t -->",
    "# h <!-- @t --> #",
    "| a | b |\n|-|-|\n| c <!-- @t --> | d |",
    "| a | b |\n|-|-|\n| \\| <!-- @t --> | d |",
    "a\r\n\r\n<!-- @t\r\n-->\r\n",
    "<?php @t ?> a",
    "a <!X @t> b",
    "<![CDATA[ @t ]]>",
    "<div> <!--\n\n@t\n\n<b> --> seen",
    '<div title="\n\n@t\n\n',
    "<i data-x='@t'>x</i>",
    "> <i data-x='\n> @t'>x</i>",
    "<script>\n@t\n\n@t</script>",
    '[a](/u "`") <!-- @t ` -->',
    "\\`<!-- @t -->`",
    "paragraph\n    <!-- @t -->",
    "<div>\n```\n<!-- @t -->\n```\n</div>",
    "![a <!-- @t -->](u)",
    "[//]: # (@t)",
    "[//]: # '@t\n@t'",
    "[comment]: <> (@t)\nseen",
    "- [x]: # (@t)",
    "[a]: http://x.example\n[a]: http://y.example (@t)\n\n[a]",
    "well[^1]\n\n[^1]: @t\n\n    @t",
    "[^1]: @t",
    "> " * 60 + "<!-- @t -->",
    "<b>\n" * (MAX_MARKS + 1) + "<!-- @t -->",
    "<b>\n" * (MAX_MARKS + 1) + "<i data-x='> @t'>",
    "a" * MAX_PARSED + " <!-- @t -->",
]

SEEN = [
    "",
    "plain",
    "a < b and c > d",
    "unclosed <!-- @t",
    "`<!-- @t -->`",
    "``<!-- ` @t -->``",
    "```\n<!-- @t -->\n```",
    "~~~html\n<!--\n@t\n~~~",
    "para\n\n    <!-- @t -->",
    "> ```\n> <!-- @t -->\n> ```",
    "\\<!-- @t -->",
    "&lt;!-- @t --&gt;",
    "see [a][b]\n\n[b]: http://x.example/",
    "- [ ] a task: [x]",
    "<details><summary>log</summary>@t</details>",
    '<img src="https://x.example/a.png" alt="b">',
    "mail <ada@example.com> or <https://x.example/>",
]


@pytest.mark.parametrize("text", HIDDEN)
def test_what_is_hidden_is_cut(text: str) -> None:
    assert "@t" in text
    assert "@t" not in shown(text, footnotes=True)


@pytest.mark.parametrize("text", SEEN)
def test_what_is_shown_stays_as_it_is(text: str) -> None:
    assert shown(text, footnotes=True) == text


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("<!-- a -->\nfirst\n\n<!-- b -->\n\nlast", "first\n\n\n\nlast"),
        ("`<!-- kept -->` <!-- cut --> end", "`<!-- kept -->`  end"),
        ("@trigger<!-- x -->hub", "@triggerhub"),
        ("<!--> seen -->", " seen -->"),
        ("<i name=x title='y'>a</i>", "<i title='y'>a</i>"),
        ("a\n\n[^1]: note\n\nb", "a\n\nb"),
        ("<!-- x -->\n    indented", "    indented"),
    ],
)
def test_only_what_is_hidden_is_cut(text: str, left: str) -> None:
    assert shown(text, footnotes=True) == left


def test_footnotes_stay_where_the_vendor_has_none() -> None:
    assert shown("a[^1]\n\n[^1]: two words") == "a[^1]\n\n[^1]: two words"


@pytest.mark.parametrize(
    "piece",
    [
        "<!--", "\n<!--", "<!-- x -->", "<!-- x -->\n\n", "`<!--", "> <!--\n", "<a ", '<a "', "<a b='", "<script>",
        "<?", "[a]: # (x)\n", "[^a]: x\n\n", "[", "![[", "<b>[a](<", "<b>*a ", "<b>\\", "<div>\n\n", "|<!-- x -->",
        "<i a=b ", "`<!-- ` ",
    ],
)  # fmt: skip
def test_reading_takes_time_in_proportion(piece: str) -> None:
    """65,536 characters are what GitHub takes. Twice the longest text takes about twice the time, not four times."""
    once, twice = (_seconds("<b> " + piece * (size // len(piece))) for size in (65_536, 131_072))
    assert once < 3
    assert twice < max(once * 3.2, 0.5)


def _seconds(text: str) -> float:
    began = time.process_time()
    shown(text, footnotes=True)
    return time.process_time() - began


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def handle_data(self, data: str) -> None:
        self.said.append(data)


PIECES = [
    "<!--", "-->", "--", "`", "``", "```\n", "\n", "\n\n", "> ", "- ", "    ", "<div>", "</div>", "<i x='", "'>",
    "<?", "?>", '<a title="', '">', "<!X", ">", "[a]: # (", ")", "[a]", "(", "\\", "|", "|-|\n", "# ", "<script>",
    "</script>",
]  # fmt: skip


@settings(max_examples=400, deadline=None, derandomize=True, database=None)
@given(st.lists(st.sampled_from(PIECES), max_size=14))
def test_no_word_is_left_that_a_page_does_not_show(pieces: list[str]) -> None:
    """Rendered and read by a parser of HTML, the page says every word that is left."""
    text = "".join(f"{piece}w{number}w" for number, piece in enumerate(pieces))
    page = _Page()
    page.feed(MarkdownIt("commonmark", {"html": True}).enable("table").render(text))
    page.close()
    said = "".join(page.said)
    left = shown(text)
    for number in range(len(pieces)):
        word = f"w{number}w"
        if word in left and f"{word}" not in said:
            assert _in_title(text, word), (text, left, said)


def _in_title(text: str, word: str) -> bool:
    """A title shows when a pointer rests on the link; it is left."""
    return 'title="' in text[: text.index(word)]


def test_the_marker_is_kept_beside_the_text_and_the_key_stays() -> None:
    ours = marker(Marker("run_0123456789abcdef", "comment.1"))
    fact = Fact(
        kind="comment.created",
        actor=Actor(),
        subject=Subject(kind="issue", key="a/b#1"),
        key="k",
        account="a",
        text=f"{ours}\nDone, @ada. <!-- @grace -->",
        changed={"body": {"from": "<!-- @grace -->", "to": "x"}, "labels": {"added": ["<!-- -->"]}},
        mentions=("ada", "grace"),
    )
    made = as_shown(fact, mentions=read_mentions)
    assert (made.text, made.marked, made.key) == (
        "Done, @ada.",
        "triggerhub run=run_0123456789abcdef slot=comment.1",
        "k",
    )
    assert made.mentions == ("ada",)
    assert made.changed == {"body": {"from": "", "to": "x"}, "labels": {"added": ["<!-- -->"]}}

"""Draws the story: the Slack thread, the other places beside it, and the one session between them.

The same bytes for the same quotes: no ids, no times, no fonts of its own.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

from story.quotes import ELSEWHERE, THREAD, Quote, numbered

PICTURE: Final = Path(__file__).resolve().parents[2] / "docs/pictures/story.svg"
TITLE: Final = "A fault told in one Slack thread and three other tools, all of it one session"
WIDTH: Final = 900
TOP: Final = 96
PADDING: Final = 14
LINE: Final = 18
GAP: Final = 12
LATER: Final = 20
"""A card begins at least so far below the one before it in the story, in whichever column that is."""
SIZE: Final = 13
SMALL: Final = 11
CHARACTER: Final = {False: 0.54, True: 0.58}
"""Of the size, by whether it is bold: wider than a mean character of any common system font."""
PLACES: Final = {"slack": "Slack", "github": "GitHub", "jira": "Jira", "sentry": "Sentry"}
COLOURS: Final = {"slack": "#7c3aed", "github": "#1f2328", "jira": "#0b5fcc", "sentry": "#b3261e"}
FONT: Final = "-apple-system, 'Segoe UI', 'Noto Sans', Helvetica, Arial, sans-serif"
TELLS: Final = 'aria-labelledby="title told"'
LETTERS: Final = f'font-family="{FONT}" font-size="{SIZE}"'


@dataclass(frozen=True, slots=True)
class Column:
    left: int
    width: int
    thread: bool
    """Where all is Slack a card names who speaks; elsewhere it names the place, and its step says who."""

    @property
    def right(self) -> int:
        return self.left + self.width

    @property
    def inner(self) -> int:
        """Wide."""
        return self.width - 2 * PADDING


@dataclass(frozen=True, slots=True)
class Card:
    """One quote, laid out."""

    number: int
    quote: Quote
    column: Column
    lines: tuple[tuple[str, bool], ...]
    """Each with whether it is bold."""
    top: int = 0

    @property
    def head(self) -> str:
        if self.column.thread:
            return self.quote.who
        return self.quote.where or PLACES[self.quote.source]

    @property
    def caption(self) -> str:
        return f"{self.number} {self.quote.step}"

    @property
    def height(self) -> int:
        return 2 * PADDING + LINE * (1 + len(self.lines)) - 4

    @property
    def bottom(self) -> int:
        return self.top + self.height


LEFT: Final = Column(left=24, width=500, thread=True)
RIGHT: Final = Column(left=588, width=288, thread=False)
SPINE: Final = 556


def draw() -> str:
    """The whole file."""
    cards = laid_out()
    end = max(card.bottom for card in cards)
    height = end + 28
    view = f'viewBox="0 0 {WIDTH} {height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" {view} role="img" {TELLS} {LETTERS}>',
        f'<title id="title">{escape(TITLE)}</title>',
        f'<desc id="told">{escape(_told(cards))}</desc>',
        f'<rect x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="10" fill="#f6f8fa" stroke="#d0d7de"/>',
        _text(LEFT.left, 38, "The thread in Slack", bold=True, size=16),
        _text(
            LEFT.left,
            60,
            "numbers: steps of forty; white: posted by triggerhub; grey: came in by webhook",
            colour="#59636e",
        ),
        _text(RIGHT.left, 38, "Other places", bold=True, size=16),
        _text(RIGHT.left, 60, "of the same conversation", colour="#59636e"),
        f'<line x1="{SPINE}" y1="{TOP - 4}" x2="{SPINE}" y2="{end}" stroke="#8c959f" stroke-width="2"/>',
        _text(SPINE, 84, "one session", colour="#59636e", anchor="middle", size=SMALL),
    ]
    for card in cards:
        parts += _drawn(card)
    return "\n".join([*parts, "</svg>", ""])


def laid_out() -> list[Card]:
    """All cards, in the story's order."""
    return _stacked(
        [_card(n, quote, LEFT) for n, quote in numbered(THREAD)]
        + [_card(n, quote, RIGHT) for n, quote in numbered(ELSEWHERE)]
    )


def room(width: float, *, bold: bool, size: int = SIZE) -> int:
    """How many characters fit."""
    return int(width / (size * CHARACTER[bold]))


def _card(number: int, quote: Quote, column: Column) -> Card:
    lines: list[tuple[str, bool]] = []
    for n, words in enumerate(quote.words):
        bold = quote.ours and n == 0 and len(quote.words) > 1
        found = textwrap.wrap(words, room(column.inner, bold=bold), break_long_words=False)
        lines += [(line, bold) for line in found]
    return Card(number, quote, column, tuple(lines))


def _stacked(cards: list[Card]) -> list[Card]:
    """In the story's order from above, and none over another of its column."""
    placed: list[Card] = []
    bottoms: dict[int, int] = {}
    for card in sorted(cards, key=lambda one: one.number):
        top = bottoms.get(card.column.left, TOP - GAP) + GAP
        if placed:
            top = max(top, placed[-1].top + LATER)
        placed.append(Card(card.number, card.quote, card.column, card.lines, top))
        bottoms[card.column.left] = placed[-1].bottom
    return placed


def _drawn(card: Card) -> list[str]:
    column, quote = card.column, card.quote
    colour = COLOURS[quote.source]
    edge, middle = (column.right if column.thread else column.left), card.top + PADDING + 7
    fill = "#ffffff" if quote.ours else "#eef2f6"
    size = f'width="{column.width}" height="{card.height}"'
    return [
        f'<line x1="{edge}" y1="{middle}" x2="{SPINE}" y2="{middle}" stroke="#8c959f"/>',
        f'<circle cx="{SPINE}" cy="{middle}" r="4" fill="{colour}"/>',
        f'<rect x="{column.left}" y="{card.top}" {size} rx="6" fill="{fill}" stroke="#d0d7de"/>',
        f'<rect x="{column.left}" y="{card.top + 6}" width="3" height="{card.height - 12}" fill="{colour}"/>',
        _text(column.left + PADDING, card.top + PADDING + 10, card.head, bold=True, colour=colour),
        _text(
            column.right - PADDING,
            card.top + PADDING + 10,
            card.caption,
            colour="#59636e",
            anchor="end",
            size=SMALL,
        ),
        *(
            _text(column.left + PADDING, card.top + PADDING + 12 + LINE * n, line, bold=bold)
            for n, (line, bold) in enumerate(card.lines, start=1)
        ),
    ]


def _text(
    x: int,
    y: int,
    words: str,
    *,
    bold: bool = False,
    colour: str = "#1f2328",
    anchor: str = "",
    size: int = SIZE,
) -> str:
    more = (' font-weight="600"' if bold else "") + (f' text-anchor="{anchor}"' if anchor else "")
    more += f' font-size="{size}"' if size != SIZE else ""
    return f'<text x="{x}" y="{y}" fill="{colour}"{more}>{escape(words)}</text>'


def _told(cards: list[Card]) -> str:
    """The picture for those who hear it."""
    return " ".join(
        f"{card.number}. {card.quote.step}, in {card.quote.where or PLACES[card.quote.source]}"
        + (f": {card.quote.who} writes “{' '.join(card.quote.words)}”." if card.quote.words else ".")
        for card in cards
    )

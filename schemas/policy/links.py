"""Where text links to, and whether it may: an address that a reader's program fetches, or that a reader opens, carries
whatever is written in it to whoever owns the host. Pure. Must not resolve or fetch anything.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Final
from urllib.parse import urlsplit

from markdown_it import MarkdownIt
from markdown_it.token import Token

from schemas.policy.unseen import bare

MAX_TEXT: Final = 400_000
RESERVED: Final = ("localhost", "example.com", "example.net", "example.org")
"""Hosts that lead nowhere beyond the reader's own machine (RFC 2606, RFC 6761); so do their subdomains."""
RESERVED_ENDINGS: Final = (".localhost", ".example", ".test", ".invalid")
_PLAIN: Final = re.compile(
    r"(?<![A-Za-z0-9+.-])([A-Za-z][A-Za-z0-9+.-]{1,20}:(?:\\?/|&sol;){2}[^\s<>\"'`]*|www\.[^\s<>\"'`]+)"
)
_ATTRIBUTE: Final = re.compile(
    r"(?:src|srcset|href|poster|data|background|action|cite|longdesc|formaction)\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([^\s>]+))",
    re.IGNORECASE,
)
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_LABELLED: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s<>\"'`]*")
_HARMLESS: Final = frozenset({"mailto", "tel"})
_NOT_OPENED: Final = frozenset(
    {"git", "ssh", "postgres", "postgresql", "mysql", "redis", "amqp", "kafka", "sqlite", "mongodb"}
)
"""Schemes that no browser, and none of the vendors, makes a link of. As the target of a link they are refused too."""
_TRAILING: Final = ".,;:!?)]}*_~'\""


@cache
def _parser() -> MarkdownIt:
    return _Parser("commonmark", {"html": True}).enable(["table", "strikethrough"])


class _Parser(MarkdownIt):
    def validateLink(self, url: str) -> bool:  # noqa: N802 - the parser's own name
        """Every link counts: the parser would pass over some that other programs show."""
        del url
        return True


def foreign(text: str, allowed: Iterable[str]) -> str | None:
    """The first host (or address without one) that `text` links to and that is not `allowed`; None when there is none.

    `allowed`: hosts in lower case, `*.example.com` for subdomains. What is returned is short and holds no path.
    """
    hosts = frozenset(allowed)
    for address, is_target in addresses(text):
        wrong = _wrong(address, hosts, is_target=is_target)
        if wrong is not None:
            return wrong
    return None


def addresses(text: str) -> Iterator[tuple[str, bool]]:
    """Every address in `text`, wherever it stands (code and quotations too: vendors differ in what they make a link).

    The second value tells whether it is surely the target of a link or image.
    """
    clean = bare(text[:MAX_TEXT])
    readings = {clean, html.unescape(clean), re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", clean)}
    for reading in readings:
        for found in _PLAIN.finditer(reading):
            yield found[0].rstrip(_TRAILING), False
        for found in _ATTRIBUTE.finditer(reading):
            for address in html.unescape(found[1] or found[2] or found[3] or "").split(","):
                if address.strip():
                    yield address.split()[0], True
    environment: dict[str, dict[str, dict[str, str]]] = {}
    for token in _flat(_parser().parse(clean, environment)):
        if token.type == "link_open":
            yield str(token.attrs.get("href", "")), True
        elif token.type == "image":
            yield str(token.attrs.get("src", "")), True
    for reference in environment.get("references", {}).values():
        yield str(reference.get("href", "")), True


def without_foreign(text: str, allowed: Iterable[str]) -> str:
    """`text` with every link to another host taken out. For our own words, which nobody can write better."""
    hosts = frozenset(allowed)
    if foreign(text, hosts) is None:
        return text

    def replace(found: re.Match[str]) -> str:
        return "(link removed)" if _wrong(found[0].rstrip(_TRAILING), hosts, is_target=False) else found[0]

    cut = _PLAIN.sub(replace, bare(text))
    if foreign(cut, hosts) is None:
        return cut
    # Hidden behind entities, tags or link syntax: without the signs that make any of these it is plain words.
    plain = re.sub(r"[<>\[\]()&]", " ", cut)
    cut = _LABELLED.sub("(link removed)", plain.replace("//", "/ /"))
    return cut if foreign(cut, hosts) is None else "(text removed: it linked to a host that is not allowed)"


def is_allowed(host: str, allowed: Iterable[str]) -> bool:
    """Whether `host` (lower case, without a port) is one of them, or leads nowhere."""
    if host in RESERVED or host.endswith((*RESERVED_ENDINGS, *(f".{name}" for name in RESERVED))):
        return True
    if host in {"127.0.0.1", "::1", "0.0.0.0"}:  # noqa: S104 - nothing is bound
        return True
    return any(
        host == name or (name.startswith("*.") and host.endswith(name[1:]) and host != name[2:])
        for name in allowed
    )


def _wrong(address: str, allowed: frozenset[str], *, is_target: bool) -> str | None:
    """What is wrong with an address, in a word or two; None where it may stand."""
    address = _CONTROL.sub("", address.strip())
    if not address or address.startswith(("#", "?")):
        return None
    if address.lower().startswith("www."):
        address = f"http://{address}"
    scheme = (_SCHEME.match(address) or [""])[0].removesuffix(":").lower()
    slashed = address[len(scheme) + 1 :] if scheme else address
    if not scheme:
        if not re.match(r"[/\\]{2}", slashed):
            return None  # relative: it stays at the vendor
        scheme = "https"
    if scheme in _HARMLESS:
        return None
    if scheme not in {"http", "https"}:
        return f"{scheme[:20]}: address" if is_target or scheme not in _NOT_OPENED else None
    host = _host(slashed)
    if host is None:
        return "address with a user name, a backslash or no host"
    return None if is_allowed(host, allowed) else _shown(host)


def _host(rest: str) -> str | None:
    """The host that a browser would go to; None where programs read the address differently."""
    authority = re.split(r"[/?#]", rest.lstrip("/"), maxsplit=1)[0]
    if not authority or "@" in authority or "\\" in rest.split("?", 1)[0] or "%" in authority:
        return None
    try:
        host = urlsplit(f"https://{authority}").hostname or ""
        if not host.isascii():
            host = host.encode("idna").decode()
    except (ValueError, UnicodeError):
        return None
    return host.rstrip(".").lower() or None


def _shown(host: str) -> str:
    """A host that can be told: what was put into its name to carry something out is cut."""
    return host if len(host) <= _LONGEST_SHOWN else f"…{host[-_LONGEST_SHOWN:]}"


_LONGEST_SHOWN: Final = 40
_CONTROL: Final = re.compile(r"[\x00-\x20\x7f]+")


def _flat(tokens: Iterable[Token]) -> Iterator[Token]:
    for token in tokens:
        yield token
        yield from _flat(token.children or ())


def hidden(text: str) -> str | None:
    """What of `text` would be posted and shown to nobody, such as an HTML comment; None when all of it shows."""
    clean = bare(text[:MAX_TEXT])
    for token in _flat(_parser().parse(clean)):
        if token.type in {"html_block", "html_inline"} and _UNSHOWN.search(token.content):
            return "an HTML comment, declaration or hidden element"
    for line in clean.splitlines():
        if _NOTE.match(line):
            return "a link definition that serves as a comment"
    return None


_UNSHOWN: Final = re.compile(
    r"<!|<\?|<\s*(?:script|style|template|title|noscript|object|iframe|form|input|link|meta|base|svg|math)\b|\shidden\b|display\s*:|visibility\s*:",
    re.IGNORECASE,
)
_NOTE: Final = re.compile(r" {0,3}\[[^\]]+\]:\s*(?:#|<>)(?:\s|$)")

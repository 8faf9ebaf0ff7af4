"""Finding credentials in text that is about to be published: a maintained scanner's rules, the vendors' token formats,
and the hub's own secrets by value. Must not show what it found, nor ask anybody whether it is live.
"""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Protocol

from schemas.policy.unseen import squeezed

MAX_CHARACTERS: Final = 1_000_000
"""Scanned in one go. Longer text counts as unscannable: it is refused, never published half looked at."""
WINDOW: Final = 4_000
OVERLAP: Final = 400
"""A long line is scanned in pieces that overlap by more than any token is long."""
SECONDS: Final = 20.0
MIN_KNOWN: Final = 8
"""Shorter secrets of the hub are not compared: they would be found in ordinary words."""
MIN_RANDOM: Final = 16
ENTROPY: Final = 3.5
"""Bits for each character, by the scanner's own measure, above which a value assigned to `password` looks random."""
BLOT: Final = "[secret removed]"
_PART: Final = 12
"""Characters of a base64 form that must agree: fewer would be found by chance."""

FORMATS: Final[dict[str, re.Pattern[str]]] = {
    "GitHub token": re.compile(
        r"(?<![A-Za-z0-9])(?:gh[pousr]_[A-Za-z0-9_]{30,255}|github_pat_[A-Za-z0-9_]{36,255})"
    ),
    "Slack token": re.compile(
        r"(?<![A-Za-z0-9])xox[abeoprs](?:-|\.xox[a-z]-)[A-Za-z0-9-]{10,255}|xapp-\d-[A-Za-z0-9-]{10,255}"
    ),
    "Anthropic key": re.compile(r"(?<![A-Za-z0-9])sk-ant-[A-Za-z0-9_-]{16,255}"),
    "Atlassian token": re.compile(
        r"(?<![A-Za-z0-9])ATAT?TT?[0-9a-zA-Z]?[A-Za-z0-9_=-]{40,400}|(?<![A-Za-z0-9])ATCTT3xFf[A-Za-z0-9_=-]{20,400}"
    ),
    "Sentry token": re.compile(r"(?<![A-Za-z0-9])sntry[su]_[A-Za-z0-9_=+/-]{30,500}"),
    "OpenAI key": re.compile(r"(?<![A-Za-z0-9])sk-(?:proj|svcacct|admin)-[A-Za-z0-9_-]{20,255}"),
    "Google key": re.compile(r"(?<![A-Za-z0-9])AIza[A-Za-z0-9_-]{35}(?![A-Za-z0-9_-])"),
    "npm token": re.compile(r"(?<![A-Za-z0-9])npm_[A-Za-z0-9]{36}(?![A-Za-z0-9])"),
    "PyPI token": re.compile(r"(?<![A-Za-z0-9])pypi-AgE[A-Za-z0-9_-]{50,500}"),
    "GitLab token": re.compile(r"(?<![A-Za-z0-9])glpat-[A-Za-z0-9_-]{20,255}"),
    "private key": re.compile(r"-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----"),
    "webhook signing secret": re.compile(r"(?<![A-Za-z0-9])whsec_[A-Za-z0-9+/=]{20,255}"),
}
"""Formats of the vendors the hub itself deals with, and of those that the scanner does not know."""


@dataclass(frozen=True, slots=True)
class Found:
    """A credential in a text, by kind and place. The value is not kept."""

    kind: str
    line: int
    """From 1."""
    start: int
    """Characters from the start of that line."""
    end: int


class TooMuchError(Exception):
    """The text cannot be scanned within the bounds. Whoever asked must not publish it."""


class Detector(Protocol):
    """One rule of the scanner."""

    secret_type: str

    def analyze_string(self, string: str) -> Iterable[Any]: ...


@cache
def _rules() -> tuple[Detector, ...]:
    """The scanner's rules for token formats."""
    # Takes 200 ms to import (with an HTTP client, for asking whether a token is live, which is never done here).
    from detect_secrets.plugins import (  # noqa: PLC0415 - see above; reading the configuration must not pay it
        artifactory,
        aws,
        azure_storage_key,
        basic_auth,
        cloudant,
        discord,
        ibm_cloud_iam,
        ibm_cos_hmac,
        jwt,
        mailchimp,
        npm,
        private_key,
        sendgrid,
        slack,
        softlayer,
        square_oauth,
        stripe,
        twilio,
    )

    return (
        artifactory.ArtifactoryDetector(),
        aws.AWSKeyDetector(),
        azure_storage_key.AzureStorageKeyDetector(),
        basic_auth.BasicAuthDetector(),
        cloudant.CloudantDetector(),
        discord.DiscordBotTokenDetector(),
        ibm_cloud_iam.IbmCloudIamDetector(),
        ibm_cos_hmac.IbmCosHmacDetector(),
        jwt.JwtTokenDetector(),
        mailchimp.MailchimpDetector(),
        npm.NpmDetector(),
        private_key.PrivateKeyDetector(),
        sendgrid.SendGridDetector(),
        slack.SlackDetector(),
        softlayer.SoftlayerDetector(),
        square_oauth.SquareOAuthDetector(),
        stripe.StripeDetector(),
        twilio.TwilioKeyDetector(),
    )


@cache
def _guess() -> tuple[Detector, Callable[[str], float]]:
    """The scanner's rule for values assigned to names such as `password`, and its measure of randomness.

    Used together only: each by itself finds a secret in every lock file and every second test.
    """
    from detect_secrets.plugins.high_entropy_strings import Base64HighEntropyString  # noqa: PLC0415 - as above
    from detect_secrets.plugins.keyword import KeywordDetector  # noqa: PLC0415 - as above

    return KeywordDetector(), Base64HighEntropyString().calculate_shannon_entropy


class KnownSecrets:
    """The hub's own secrets, to be recognised by value: as they are, cut up by blanks or quotes, or in base64."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        known = sorted({value.strip() for value in values if len(value.strip()) >= MIN_KNOWN}, key=len)
        self._values = tuple(reversed(known))
        self._forms = {form for value in known for form in _forms(value)}

    def __repr__(self) -> str:
        return f"KnownSecrets({len(self._values)})"

    def inside(self, text: str) -> bool:
        """Whether any of them is in `text`, in whatever form."""
        if any(value in text for value in self._values):
            return True
        together = squeezed(text)
        return any(form in together for form in self._forms)

    def spans(self, text: str) -> Iterator[tuple[int, int]]:
        """Where they stand as they are."""
        for value in self._values:
            at = text.find(value)
            while at >= 0:
                yield at, at + len(value)
                at = text.find(value, at + 1)


NONE_KNOWN: Final = KnownSecrets()


def scan(text: str, known: KnownSecrets = NONE_KNOWN) -> list[Found]:
    """Every credential in `text`. Blocks for some seconds at the bound: call it in a thread. Raises TooMuchError."""
    if len(text) > MAX_CHARACTERS:
        msg = f"{len(text)} characters are more than the {MAX_CHARACTERS} that are looked through for secrets"
        raise TooMuchError(msg)
    until = time.monotonic() + SECONDS
    found: list[Found] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line or line.isspace():
            continue
        found += (Found("secret of this hub", number, *span) for span in known.spans(line))
        for offset, piece in _pieces(line):
            found += (Found(kind, number, offset + a, offset + b) for kind, a, b in _in_piece(piece))
        if time.monotonic() > until:
            msg = f"looking for secrets took longer than {SECONDS:.0f} s"
            raise TooMuchError(msg)
    if not any(one.kind == "secret of this hub" for one in found) and known.inside(text):
        found.append(Found("secret of this hub", 0, 0, 0))
    return found


def redact(text: str, known: KnownSecrets = NONE_KNOWN) -> str:
    """`text` with every credential blotted out; all of it, where one cannot be cut out by itself. For our own words."""
    try:
        found = scan(text, known)
    except TooMuchError:
        return BLOT
    if not found:
        return text
    if any(one.line == 0 for one in found):
        return BLOT
    lines = text.split("\n")
    begun = min((one.line for one in found if "private key" in one.kind.lower()), default=None)
    for number in {one.line for one in found}:
        lines[number - 1] = _blotted(lines[number - 1], [one for one in found if one.line == number])
    if begun is not None:  # the key itself stands on the lines below
        end = next((at for at in range(begun, len(lines)) if "-----END" in lines[at]), len(lines) - 1)
        lines[begun - 1 : end + 1] = [BLOT]
    return "\n".join(lines)


def _blotted(line: str, found: list[Found]) -> str:
    at = len(line)
    for one in sorted(found, key=lambda one: one.start, reverse=True):
        end = min(one.end, at)
        if one.start < end or at == len(line):
            line = line[: one.start] + BLOT + line[max(end, one.start) :]
        at = one.start
    return line


def _pieces(line: str) -> Iterator[tuple[int, str]]:
    if len(line) <= WINDOW:
        yield 0, line
        return
    for start in range(0, len(line), WINDOW - OVERLAP):
        yield start, line[start : start + WINDOW]


def _in_piece(piece: str) -> Iterator[tuple[str, int, int]]:
    for kind, pattern in FORMATS.items():
        for found in pattern.finditer(piece):
            yield kind, *found.span()
    for rule in _rules():
        for value in rule.analyze_string(piece):
            text = str(value)
            if text and not (rule.secret_type == BASIC_AUTH and _is_placeholder(text)):
                yield rule.secret_type, *_span(piece, text)
    keyword, entropy = _guess()
    for value in keyword.analyze_string(piece):
        text = str(value)
        if len(text) >= MIN_RANDOM and _RANDOM.fullmatch(text) and entropy(text) >= ENTROPY:
            yield "secret assigned to a name", *_span(piece, text)


def _span(piece: str, value: str) -> tuple[int, int]:
    start = piece.find(value)
    return (start, start + len(value)) if start >= 0 else (0, len(piece))


def _is_placeholder(value: str) -> bool:
    """A password in an address that is one word, such as `postgres://user:password@localhost`."""
    return value.isalpha() or not value.isascii() or value[0] in "<${[%"


def _forms(value: str) -> Iterator[str]:
    """The value put together, and its base64 at each of the three places it can begin at in a longer text."""
    together = squeezed(value)
    if len(together) >= MIN_KNOWN:
        yield together
    raw = value.encode()
    for shift in range(3):
        whole = base64.b64encode(b"\0" * shift + raw).decode()
        first = (0, 2, 3)[shift]
        last = (len(raw) + shift) // 3 * 4
        core = whole[first:last]
        if len(core) >= _PART:
            yield core
            yield core.replace("+", "-").replace("/", "_")


BASIC_AUTH: Final = "Basic Auth Credentials"
_RANDOM: Final = re.compile(r"(?=.*[0-9])(?=.*[A-Za-z])[A-Za-z0-9+/=_.~-]+")
"""Letters and digits mixed, without blanks: no sentence, no expression."""

"""Proof that Jira sent a webhook: HMAC signature, JSON Web Token, or a shared token where Jira offers nothing
better.

Pure functions of the request, the live secrets and the time. Nothing here may parse the body, or put a
header's value into an error.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from connectors.base import Request, SignatureError
from connectors.signatures import check_hex, hex_hmac, same_as_one

if TYPE_CHECKING:
    from jwt.api_jws import PyJWS

SIGNATURE_HEADER: Final = "x-hub-signature"
TOKEN_HEADER: Final = "x-triggerhub-token"  # noqa: S105 - the name of a header
TOKEN_PARAMETER: Final = "token"  # noqa: S105 - the name of a query parameter
JWT_SCHEMES: Final = frozenset({"bearer", "jwt"})
"""`Bearer`: dynamic webhooks of OAuth 2.0 apps. `JWT`: Connect apps. Both HS256 under the app's secret."""
MAX_JWT: Final = 8192
CLOCK_SKEW: Final = 30.0
"""Seconds that Atlassian's clock may run ahead of ours (nbf). An expired token gets no grace."""


def check(request: Request, *, secrets: Sequence[str], now: float) -> None:
    """Raise SignatureError unless the strongest proof that the request carries is right.

    The strongest proof present decides alone: a request with a wrong signature is refused even if its token
    is right, so that nobody gains by adding a weaker proof. From strong to weak:

    1. `X-Hub-Signature: sha256=<hex>` over the raw body (admin webhooks with a secret; Data Center 10 and
       later).
    2. `Authorization: Bearer|JWT <HS256 token>` with `exp` (dynamic webhooks). The body is NOT covered by it.
    3. `X-Triggerhub-Token: <secret>` (Automation's "Send web request", which cannot sign).
    4. `?token=<secret>` in the address (Data Center before 10, which can do nothing else).
    """
    live = [secret for secret in secrets if secret]
    if not live:
        msg = "no webhook secret is live for this connection; set webhook_secrets"
        raise SignatureError(msg)
    headers = request.headers
    if SIGNATURE_HEADER in headers:
        check_hex(
            headers[SIGNATURE_HEADER], request.body, secrets=live, header="X-Hub-Signature", prefix="sha256="
        )
        return
    scheme, _, credentials = headers.get("authorization", "").strip().partition(" ")
    if scheme.lower() in JWT_SCHEMES:
        _check_jwt(credentials.strip(), secrets=live, now=now)
        return
    if TOKEN_HEADER in headers:
        _check_token(headers[TOKEN_HEADER], secrets=live, place="the header X-Triggerhub-Token")
        return
    if TOKEN_PARAMETER in request.query:
        _check_token(request.query[TOKEN_PARAMETER], secrets=live, place="the query parameter token")
        return
    msg = "no proof of the sender: X-Hub-Signature, Authorization and X-Triggerhub-Token are all missing"
    raise SignatureError(msg)


def signed(headers: Mapping[str, str], body: bytes, *, secret: str) -> dict[str, str]:
    """`headers` plus the signature of an admin webhook."""
    return {**headers, "X-Hub-Signature": "sha256=" + hex_hmac(secret, body)}


def _check_token(given: str, *, secrets: Sequence[str], place: str) -> None:
    offered = given.encode("utf-8", "surrogatepass")
    if not same_as_one(offered, (secret.encode("utf-8", "surrogatepass") for secret in secrets)):
        msg = f"{place} does not hold a live secret"
        raise SignatureError(msg)


def _check_jwt(token: str, *, secrets: Sequence[str], now: float) -> None:
    if not token or len(token) > MAX_JWT:
        msg = f"the header Authorization does not hold a token of 1 to {MAX_JWT} characters"
        raise SignatureError(msg)
    claims = None
    for secret in secrets:
        # Every secret is tried, so that the time taken does not tell which one is live.
        claims = _claims(token, secret) or claims
    if claims is None:
        msg = "the token in Authorization is not an HS256 token under any live secret"
        raise SignatureError(msg)
    expires, starts = _number(claims.get("exp")), _number(claims.get("nbf"))
    if expires is None:
        msg = "the token in Authorization has no expiry (exp)"
        raise SignatureError(msg)
    if expires <= now:
        msg = "the token in Authorization has expired"
        raise SignatureError(msg)
    if starts is not None and starts > now + CLOCK_SKEW:
        msg = "the token in Authorization is not valid yet (nbf)"
        raise SignatureError(msg)


def _claims(token: str, secret: str) -> dict[str, Any] | None:
    """The claims of a token signed HS256 with `secret`, else None. Times are not looked at."""
    from jwt.exceptions import PyJWTError  # noqa: PLC0415 - only OAuth and Connect webhooks pay for the import

    try:
        claims = json.loads(_hs256().decode(token, secret, algorithms=["HS256"]))
    except (PyJWTError, ValueError, RecursionError):
        return None
    return claims if isinstance(claims, dict) else None


@cache
def _hs256() -> PyJWS:
    """PyJWT that knows HS256 and nothing else, and takes keys of any length.

    Atlassian chooses the length of client secrets; PyJWT's warning below 32 bytes would come with every
    delivery.
    """
    from jwt.algorithms import HMACAlgorithm  # noqa: PLC0415 - see _claims
    from jwt.api_jws import PyJWS  # noqa: PLC0415 - see _claims

    class VendorKeyAlgorithm(HMACAlgorithm):
        def check_key_length(self, key: bytes) -> str | None:  # noqa: ARG002 - the signature is PyJWT's
            return None

    reader = PyJWS(algorithms=[])
    reader.register_algorithm("HS256", VendorKeyAlgorithm(HMACAlgorithm.SHA256))
    return reader


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return None

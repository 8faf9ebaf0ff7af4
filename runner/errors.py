"""What may go wrong with a call of the Managed Agents service, sorted by what the caller can do about it."""

from __future__ import annotations

import math

import anthropic
import httpx2

from schemas.redaction import without_secrets

_OVERLOADED = 529
"""The service's own status for "come back later"."""
_TIMED_OUT_OR_CONFLICT = frozenset({408, 409})


class ServiceError(Exception):
    """Base. The text is safe to store and to show: what the service repeats of our credentials is blotted out."""

    def __init__(self, message: str) -> None:
        super().__init__(without_secrets(message))


class RefusedError(ServiceError):
    """Permanent: the request will never be accepted."""

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status

    @property
    def gone(self) -> bool:
        """Said of a session: it is archived, deleted or never was, and only a replacement helps."""
        text = str(self).lower()
        return self.status == httpx2.codes.NOT_FOUND or (
            self.status == httpx2.codes.BAD_REQUEST
            and ("archived" in text or "does not exist" in text or "terminated" in text)
        )

    @property
    def blocked(self) -> bool:
        """The session waits for tool results: a message is not accepted before an interrupt."""
        return self.status == httpx2.codes.BAD_REQUEST and "waiting on responses" in str(self).lower()

    @property
    def over_budget(self) -> bool:
        """The session stands at its cap."""
        return self.status == httpx2.codes.BAD_REQUEST and "budget" in str(self).lower()

    @property
    def unauthorised(self) -> bool:
        """The credential is not (or no longer) accepted: true of every call, and mended by a person."""
        return self.status in {httpx2.codes.UNAUTHORIZED, httpx2.codes.FORBIDDEN}


class BusyError(ServiceError):
    """Nothing was done; come back later."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        """Seconds, where the service named a time."""


class UncertainError(ServiceError):
    """It may have been done or not: look before doing it again."""


def sort_error(what: str, error: BaseException) -> ServiceError:
    """Which of the three it is (managed-agents reference §2 and §4)."""
    if isinstance(error, anthropic.APIStatusError):
        status = error.status_code
        detail = getattr(error, "api_message", None) or str(error)
        text = without_secrets(f"{what}: {status} {detail}")[:500]  # a secret that is cut would not be known
        if status in {httpx2.codes.TOO_MANY_REQUESTS, _OVERLOADED}:
            return BusyError(text, retry_after=_retry_after(error.response.headers.get("retry-after")))
        if (
            status in _TIMED_OUT_OR_CONFLICT
            or status >= httpx2.codes.INTERNAL_SERVER_ERROR
            or status < httpx2.codes.BAD_REQUEST
        ):
            return UncertainError(text)
        return RefusedError(text, status=status)
    cause = error.__cause__ if isinstance(error, anthropic.APIConnectionError) else error
    if isinstance(cause, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.PoolTimeout):
        return BusyError(f"{what}: no connection ({type(cause).__name__})")
    return UncertainError(f"{what}: the answer was lost or unreadable ({type(cause or error).__name__})")


def _retry_after(value: str | None) -> float | None:
    try:
        seconds = float(value) if value else None
    except ValueError:
        return None  # an HTTP date: our own delays do as well
    return max(0.0, seconds) if seconds is not None and math.isfinite(seconds) else None

"""What the connectors count, as an interface: the hub supplies Prometheus, tests supply nothing."""

from __future__ import annotations


class Observations:
    """Counts nothing. Every method is called on the hot path and must not block."""

    def delivery(self, *, connection: str, status: int, seconds: float) -> None:
        """A webhook was answered."""

    def outcome(self, *, connection: str, outcome: str) -> None:
        """A delivery was stored with this outcome."""

    def post(self, *, connection: str, output: str, outcome: str, seconds: float) -> None:
        """A try at a post ended: `posted`, `found`, `refused`, `retry` or `uncertain`."""

    def circuit(self, *, connection: str, is_open: bool) -> None:
        """Posts to a connection are held back from now on, or no more."""

    def healed(self, *, connection: str, how: str, count: int) -> None:
        """What a vendor could not deliver was found: `fetched` events, or deliveries it was asked for (`redelivered`)."""

    def canary(self, *, connection: str, seconds: float) -> None:
        """A canary came through."""

    def canary_age(self, *, connection: str, seconds: float) -> None:
        """Seconds since the newest canary that came through was sent."""

    def silence(self, *, connection: str, is_silent: bool) -> None:
        """A connection fell silent against its habit, or did not."""

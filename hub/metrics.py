"""Counters for Prometheus, in a registry of their own so that two hubs in one process (tests) do not collide."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from connectors.observations import Observations
from hub.spend_metrics import SpendMetrics


class Metrics(Observations):
    """What `/metrics` shows."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._deliveries = Counter(
            "triggerhub_deliveries", "Webhooks answered.", ["connection", "status"], registry=self.registry
        )
        self._outcomes = Counter(
            "triggerhub_outcomes",
            "Deliveries stored, by outcome.",
            ["connection", "outcome"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "triggerhub_delivery_seconds",
            "From request to answer.",
            ["connection"],
            registry=self.registry,
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 3, 10),
        )
        self._posts = Counter(
            "triggerhub_posts",
            "Tries at posts, by outcome.",
            ["connection", "output", "outcome"],
            registry=self.registry,
        )
        self._post_seconds = Histogram(
            "triggerhub_post_seconds", "One try at a post.", ["connection"], registry=self.registry
        )
        self._circuits = Gauge(
            "triggerhub_circuit_open",
            "1 while posts to a connection are held back.",
            ["connection"],
            registry=self.registry,
        )
        self._healed = Counter(
            "triggerhub_healed",
            "What vendors could not deliver: events fetched, deliveries asked for again.",
            ["connection", "how"],
            registry=self.registry,
        )
        self._silent = Gauge(
            "triggerhub_connection_silent",
            "1 while a connection gets no webhooks against its habit.",
            ["connection"],
            registry=self.registry,
        )
        self._canary_seconds = Histogram(
            "triggerhub_canary_seconds",
            "From a canary's sending to the router.",
            ["connection"],
            registry=self.registry,
            buckets=(0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
        )
        self._canary_age = Gauge(
            "triggerhub_canary_age_seconds",
            "Since the newest canary that came through was sent.",
            ["connection"],
            registry=self.registry,
        )
        self.runs = Gauge("triggerhub_runs", "Runs that this process follows.", registry=self.registry)
        self.outbox = Gauge(
            "triggerhub_outbox_messages", "Messages not yet consumed.", registry=self.registry
        )
        self.outbox_age = Gauge(
            "triggerhub_outbox_oldest_seconds",
            "Age of the oldest message not yet consumed.",
            registry=self.registry,
        )

        self.broken_credentials = Gauge(
            "triggerhub_credentials_broken",
            "Credentials in our vaults that the service could not renew.",
            registry=self.registry,
        )
        self.spend = SpendMetrics(self.registry)

    def delivery(self, *, connection: str, status: int, seconds: float) -> None:
        self._deliveries.labels(connection, str(status)).inc()
        self._seconds.labels(connection).observe(seconds)

    def outcome(self, *, connection: str, outcome: str) -> None:
        self._outcomes.labels(connection, outcome).inc()

    def post(self, *, connection: str, output: str, outcome: str, seconds: float) -> None:
        self._posts.labels(connection, output, outcome).inc()
        self._post_seconds.labels(connection).observe(seconds)

    def circuit(self, *, connection: str, is_open: bool) -> None:
        self._circuits.labels(connection).set(float(is_open))

    def healed(self, *, connection: str, how: str, count: int) -> None:
        self._healed.labels(connection, how).inc(count)

    def silence(self, *, connection: str, is_silent: bool) -> None:
        self._silent.labels(connection).set(float(is_silent))

    def canary(self, *, connection: str, seconds: float) -> None:
        self._canary_seconds.labels(connection).observe(seconds)

    def canary_age(self, *, connection: str, seconds: float) -> None:
        self._canary_age.labels(connection).set(seconds)

    def page(self) -> bytes:
        """The exposition format."""
        return generate_latest(self.registry)

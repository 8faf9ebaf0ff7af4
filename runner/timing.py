"""Every duration and number of tries of the runner in one place, so that tests can be quick about them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds, unless said otherwise. The defaults are for the real service."""

    lease: float = 30.0
    """How long a run belongs to a process that was not heard of."""
    heartbeat: float = 8.0
    """Between two renewals of the leases: three may fail before one runs out."""
    stop_poll: float = 1.0
    """Between two looks for runs that somebody asked to stop."""
    follow_up_poll: float = 0.5
    """Between two looks for follow-ups that want to be told to a session at work."""
    activity_poll: float = 10.0
    """Between two notes of what agents did last."""
    claim_poll: float = 0.5
    result_poll: float = 0.25

    first_delay: float = 0.5
    """Before the first repetition of a call; doubles up to `max_delay`."""
    max_delay: float = 10.0
    tries: int = 6
    """Of one call in a row, before the run is given back for later."""
    longest_wait: float = 60.0
    """A `retry-after` beyond this gives the run back instead of holding it."""
    give_back: float = 5.0
    """Before a run that was given back is claimed again; doubles with each attempt up to `max_give_back`."""
    max_give_back: float = 300.0
    max_attempts: int = 25
    """Claims without progress after which a run fails: with the delays above more than two hours of a service that
    does not answer, or a run that kills its process again and again."""

    settle: tuple[float, ...] = (0.0, 2.0, 3.0)
    """Pauses before each look for a thing that may have been made: what is new may be missing from a list at first
    (managed-agents reference §4)."""
    status_lag: float = 2.0
    """How long a session may read `running` after its stream said idle (managed-agents reference §1.6)."""
    calm: float = 30.0
    """How long a session may take to go idle after an interrupt, before new work is sent to it later."""
    open_stream: float = 60.0
    """How long the work waits for its stream to open."""

    stream_silence: float = 120.0
    """Without a byte for so long a stream is taken for dead. Doubles each time, up to `max_stream_silence`, because
    the interval of the service's heartbeats is not published."""
    max_stream_silence: float = 600.0
    quiet: float = 90.0
    """Without an event for so long the session's status is asked for, in case its end was missed. Doubles up to
    `max_quiet`: 2,000 silent sessions must fit into the reads per minute."""
    max_quiet: float = 900.0

    after_interrupt: float = 0.5
    """Before the session is asked whether it stopped: an interrupt of an idle session causes no event."""
    interrupt_again: float = 20.0
    stop_patience: float = 180.0
    """After so long without an effect of interrupts the run ends; the upkeep goes on interrupting the session."""
    session_days: float = 29.5
    """A session that is older is replaced: the service keeps what is on its machine for 30 days from its creation
    (managed-agents reference §1.1)."""
    token_share: float = 0.5
    """A repository's token is replaced when this share of its life is over: those of GitHub Apps live for an hour."""
    token_refresh: float = 2700.0
    """The longest time between two replacements, where no end of the token is known."""
    token_least: float = 60.0
    """The shortest, and the wait after one that failed."""

    upkeep: float = 60.0
    upkeep_grace: float = 60.0
    """Sessions and ends of runs younger than this are left alone: their owner may be about to deal with them."""
    upkeep_window: float = 7200.0
    """How far back sessions are looked at."""
    look_first: float = 60.0
    """Between two looks at the session of a run that waits, where no list shows it; doubles up to `look_longest`."""
    look_longest: float = 3600.0
    credential_check: float = 600.0
    """Between two looks at a credential that could not be renewed."""
    credential_probe: float = 3600.0
    """Between two trials of each OAuth credential in our vaults: it may have failed, and no webhook told it."""

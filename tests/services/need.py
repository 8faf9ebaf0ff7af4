"""What happens when a service is not to be had: a skip that says why, or an error where services are required."""

from __future__ import annotations

import os
from typing import Final, NoReturn

import pytest

REQUIRED: Final = "TRIGGERHUB_REQUIRE_SERVICES"


class ServiceMissingError(RuntimeError):
    """This machine has no way to run the service. The text names what was tried."""


class OutOfReachError(RuntimeError):
    """The service was given by address: a test may not stop what it did not start."""


def required() -> bool:
    """True where a missing service is a fault of the machine and not a reason to skip."""
    return os.environ.get(REQUIRED, "") not in {"", "0"}


def without(error: ServiceMissingError | OutOfReachError) -> NoReturn:
    """Skip the calling test, or fail it where services are required."""
    if required() and isinstance(error, ServiceMissingError):
        msg = f"{REQUIRED} is set, but {error}"
        pytest.fail(msg, pytrace=False)
    pytest.skip(str(error))

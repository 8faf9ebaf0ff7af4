"""Configurations for tests of agents, environments and what they use, and what loading says. Holds no expectations."""

from __future__ import annotations

from typing import Any

from router_samples import configuration, problems, rule

from hub.vendor_types import check_agent, check_environment, check_part

CHECKS = {"check_agent": check_agent, "check_environment": check_environment, "check_part": check_part}


def agents(**written: dict[str, Any]) -> dict[str, Any]:
    """A configuration whose rule uses the agent `fixer`."""
    named = {"fixer": {"model": "claude-sonnet-5-5"}, **written}
    named["fixer"] = {"environment": "python", **named["fixer"]}
    return configuration(rule(), agents=named)


def told(config: dict[str, Any]) -> list[str]:
    return problems(config, **CHECKS)

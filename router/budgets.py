"""Whether the budgets of rules fit under the caps in USD that they are under. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from router.shapes import Finding
from schemas.config import Caps, Rule


def budget_findings(rule: Rule, teams: Mapping[str, Caps], limits: Caps) -> list[Finding]:
    """A rule under a cap of a day needs a budget, or nothing could be reserved; one above the cap could never start."""
    team = teams.get(rule.team) if rule.team is not None else None
    over = [("limits.per_day_usd", rule.limits), (f"teams.{rule.team}.per_day_usd", team), ("limits", limits)]
    for name, caps in over:
        cap = caps.per_day_usd if caps is not None else None
        if cap is None:
            continue
        called = f"the limits of everything ({cap} USD a day)" if caps is limits else f"{name} ({cap})"
        if rule.limits.budget_usd is None:
            msg = f"required under {called}: what a run may spend is reserved before it starts"
            return [Finding(("limits", "budget_usd"), msg)]
        if rule.limits.budget_usd > cap:
            msg = f"{rule.limits.budget_usd} is above {called}: no run could ever start"
            return [Finding(("limits", "budget_usd"), msg)]
    return []

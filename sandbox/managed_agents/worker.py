"""The believable worker: the agent that runs where no scenario is asked for.

It reads instructions and event data, says what it understood, works with the built-in tools, pushes a branch,
calls the tools it was given in a sensible order, adapts to refusals, and ends with a report. Same inputs,
same words.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

from sandbox.managed_agents import prose
from sandbox.managed_agents.arguments import Knowledge, fill, needs_address
from sandbox.managed_agents.moves import Move, call, permission, speak, use
from sandbox.managed_agents.reading import Repository, Task, first_line, first_url, read_repository, read_task
from sandbox.managed_agents.session import Memory
from sandbox.managed_agents.turns import Answer, Step, Turn

PULL_REQUEST: Final = "open_pull_request"
TALK: Final = ("comment", "post", "message", "reply", "review_thread", "notify", "say", "announce")
"""Parts of the names of tools that tell people something: they come last."""
ORDER: Final = (PULL_REQUEST, "transition", "status", "assign", "label", "link")
"""Parts of the names of other tools, in the order in which they are called."""


class CodeHost(Protocol):
    """Where the agent's branches go: the part of the emulated GitHub that is used here."""

    def push(self, repo: str, branch: str, *, base: str, message: str, files: dict[str, str]) -> str:
        """Commit `files` onto `branch` (begun at `base`) and return the sha. Raises LookupError or
        ValueError."""
        ...


@dataclass(slots=True)
class Progress:
    """What one turn has come to so far."""

    branch: str | None = None
    sha: str | None = None
    url: str | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)


def work(
    turn: Turn,
    events: list[dict[str, Any]],
    code: CodeHost,
    *,
    mounted: bool = True,
    leave: frozenset[str] = frozenset(),
) -> Move:
    """One turn. `mounted=False`: the repository could not be mounted. `leave`: tools that are not called."""
    session = turn.session
    task = read_task(events)
    repository = read_repository(session.resources) if mounted else None
    granted = [tool for tool in session.tools("custom") if tool["name"] not in leave]
    tools = sorted(granted, key=lambda tool: rank(tool["name"]))
    earlier = session.memories[-1] if session.memories else None
    progress = Progress(
        branch=earlier.branch if earlier else None,
        url=first_url(" ".join(earlier.links)) if earlier else None,
    )
    yield from speak(turn, prose.understanding(task, repository, (tool["name"] for tool in tools)))
    yield from _look(turn, task, repository)
    opens = any(is_pull_request(tool["name"]) for tool in tools)
    if repository is not None and (opens or progress.branch is not None):
        yield from _change(turn, task, repository, code, progress)
    known = _knowledge(task, repository, progress)
    opened = earlier is not None and progress.url is not None
    for stage in _stages(
        tools, opened=opened, follow_up=earlier is not None, pushed=progress.sha is not None
    ):
        yield from _call_stage(turn, stage, known, progress)
        known = _knowledge(task, repository, progress)
    if not progress.done:
        progress.done.append("read everything that was given to me; nothing had to be changed")
    said = prose.report(
        task,
        done=progress.done,
        failed=progress.failed,
        links=[url for url in (progress.url, *progress.links, task.subject.url) if url],
        earlier=earlier.asked if earlier else None,
    )
    yield from speak(turn, said)
    links = tuple(([progress.url] if progress.url else []) + progress.links)
    turn.memory = Memory(asked=task.words, links=links, branch=progress.branch)


def rank(name: str) -> tuple[int, str]:
    """Order in which tools are called: the pull request, then state, then links, then words to people."""
    for place, part in enumerate(ORDER):
        if part in name:
            return place, name
    return (len(ORDER) + 1 if any(part in name for part in TALK) else len(ORDER)), name


def is_pull_request(name: str) -> bool:
    """`open_pull_request`, also `open_pull_request_2`."""
    return name.startswith(PULL_REQUEST)


def _stages(
    tools: list[dict[str, Any]], *, opened: bool, follow_up: bool, pushed: bool
) -> list[list[dict[str, Any]]]:
    """Tools that are called together, stage after stage. A follow-up only speaks, unless the first turn
    failed."""
    pulls = [tool for tool in tools if is_pull_request(tool["name"])] if pushed and not opened else []
    talk = [tool for tool in tools if rank(tool["name"])[0] > len(ORDER)]
    quiet = [tool for tool in tools if tool not in talk and not is_pull_request(tool["name"])]
    stages = [*([tool] for tool in pulls), [] if follow_up and opened else quiet, talk]
    return [stage for stage in stages if stage]


def _look(turn: Turn, task: Task, repository: Repository | None) -> Move:
    if repository is None:
        return
    path = repository.mount_path
    pattern = task.slug.replace("-", "_")
    yield from use(
        turn,
        "bash",
        {"command": f"cd {path} && git log --oneline -3 && grep -rn {pattern} . | head"},
        f"0a1b2c3 Initial commit\n./README.md:1:# {repository.name.partition('/')[2]}",
    )
    yield from use(
        turn, "read", {"file_path": f"{path}/README.md"}, f"# {repository.name.partition('/')[2]}\n"
    )


def _change(turn: Turn, task: Task, repository: Repository, code: CodeHost, progress: Progress) -> Move:
    name = task.slug.replace("-", "_")
    files = {
        f"tests/test_{name}.py": prose.test_file(task, f"repairs.{name}"),
        f"repairs/{name}.py": prose.fix_file(task),
    }
    if progress.branch is not None:
        turns = len(turn.session.memories) + 1
        files = {f"repairs/{name}_{turns}.py": prose.fix_file(task)}
    branch = progress.branch or task.branch or f"triggerhub/{turn.session.id}"
    for path, content in files.items():
        arguments = {"file_path": f"{repository.mount_path}/{path}", "old_string": "", "new_string": content}
        yield from use(turn, "edit", arguments, f"The file {path} has been written.")

    def push() -> str:
        try:
            progress.sha = code.push(
                repository.name,
                branch,
                base=repository.base,
                message=f"Repair: {first_line(task.about, most=60)}",
                files=files,
            )
        except (LookupError, ValueError) as error:
            progress.failed.append(f"`git push` of `{branch}` to `{repository.name}`: {error}")
            return f"1 passed\nfatal: {error}"
        progress.branch, progress.files = branch, files
        progress.done.append(f"pushed {len(files)} files to the branch `{branch}`")
        return f"1 passed\nTo {repository.name}\n * [new branch] {branch}"

    command = f"cd {repository.mount_path} && python -m pytest -q && git push origin HEAD:{branch}"
    if not (yield from use(turn, "bash", {"command": command}, push)):
        if permission(turn, "bash").policy == "always_ask":
            progress.failed.append(f"`{command}`: it was not permitted")
        else:
            push()


def _knowledge(task: Task, repository: Repository | None, progress: Progress) -> Knowledge:
    subject = first_line(task.about, most=120)
    return Knowledge(
        title=f"Repair: {subject}",
        body=prose.comment(task, url=progress.url, branch=progress.branch),
        short=f"{subject}: {progress.url}" if progress.url else subject,
        key=task.subject.key,
        branch=progress.branch,
        base=repository.base if repository else "main",
        sha=progress.sha,
        url=progress.url or task.subject.url,
        labels=task.labels or ("agent",),
        path=next(iter(progress.files), "README.md"),
        extra={"pull_request_body": prose.pull_request_body(task, progress.files)},
    )


def _call_stage(
    turn: Turn, stage: list[dict[str, Any]], known: Knowledge, progress: Progress
) -> Generator[Step, dict[str, Answer] | None, None]:
    callable_tools = []
    for tool in stage:
        if needs_address(tool["input_schema"]) and known.url is None:
            progress.failed.append(f"`{tool['name']}`: there is no address to give it")
        else:
            callable_tools.append(tool)
    if not callable_tools:
        return
    calls = [(tool["name"], _arguments(tool, known)) for tool in callable_tools]
    answers = yield from call(turn, calls)
    for tool, (_, arguments), answer in zip(callable_tools, calls, answers, strict=True):
        given = answer
        named = _asked_for(tool, arguments, answer)
        if named:
            again = _arguments(tool, known, also=named)
            given = (yield from call(turn, [(tool["name"], again)]))[0]
        _note(tool["name"], given, progress)


def _arguments(
    tool: dict[str, Any], known: Knowledge, *, also: frozenset[str] = frozenset()
) -> dict[str, Any]:
    if is_pull_request(tool["name"]):
        known = replace(known, body=known.extra["pull_request_body"])
    return fill(tool["input_schema"], replace(known, extra={}), also=also)


def _asked_for(tool: dict[str, Any], arguments: dict[str, Any], answer: Answer) -> frozenset[str]:
    """Optional fields that a refusal names and that were left out: worth one more try."""
    if not answer.is_error:
        return frozenset()
    left_out = (tool["input_schema"].get("properties") or {}).keys() - arguments.keys()
    return frozenset(name for name in left_out if name in answer.text)


def _note(name: str, answer: Answer, progress: Progress) -> None:
    url = first_url(answer.text)
    if answer.is_error:
        progress.failed.append(f"`{name}`: {first_line(answer.text, most=300) or 'refused without a reason'}")
        return
    if url is not None:
        progress.links.append(url)
        if is_pull_request(name) and progress.url is None:
            progress.url = url
    progress.done.append(f"`{name}`" + (f": {url}" if url else ""))

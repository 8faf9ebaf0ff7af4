"""The words of the emulated agent, in Markdown with headings, lists, quotes and code. Pure functions of
their arguments."""

from __future__ import annotations

from collections.abc import Iterable

from sandbox.managed_agents.reading import Repository, Task, first_line


def quote(text: str, *, lines: int = 4) -> str:
    """The first lines of a text as a Markdown quotation."""
    kept = [line.rstrip() for line in text.strip().splitlines() if line.strip()][:lines]
    return "\n".join(f"> {line[:300]}" for line in kept) or "> (no text)"


def understanding(task: Task, repository: Repository | None, tools: Iterable[str]) -> str:
    """What the agent says before it begins."""
    said = [f"I read this as: **{first_line(task.about)}**"]
    if task.subject.key:
        by = f", reported by {task.actor}" if task.actor else ""
        said.append(f"It concerns the {task.subject.kind} `{task.subject.key}`{by}.")
    where = f"`{repository.name}` at `{repository.base}`" if repository else "no repository"
    granted = ", ".join(f"`{name}`" for name in tools) or "none"
    said.append(f"I work with {where}. Tools given to me: {granted}.")
    return "\n\n".join(said)


def pull_request_body(task: Task, files: Iterable[str]) -> str:
    """The body of the pull request."""
    listed = "\n".join(f"- `{name}`" for name in files)
    link = f"\n\nRefers to {task.subject.url}" if task.subject.url else ""
    return (
        f"## What was wrong\n\n{quote(task.words)}\n\n"
        f"## What this changes\n\n{listed}\n\n"
        f"The first file is a test that failed before the change and passes with it.{link}"
    )


def comment(task: Task, *, url: str | None, branch: str | None) -> str:
    """What goes to people where the work came from."""
    if url:
        done = f"There is a pull request for this: {url}"
    elif branch:
        done = f"The work is on the branch `{branch}`; there is no pull request."
    else:
        done = "I looked into this and changed nothing in a repository."
    return (
        f"### {first_line(task.about)}\n\n{quote(task.words, lines=max(4, 2 * task.heard))}\n\n{done}\n\n"
        "- cause found and covered by a test\n- nothing else was touched\n\n"
        f"```python\ndef test_{task.slug.replace('-', '_')}() -> None:\n    assert repaired()\n```"
    )


def report(
    task: Task,
    *,
    done: list[str],
    failed: list[str],
    links: Iterable[str],
    earlier: str | None,
) -> str:
    """The last message of a turn."""
    parts = [f"## {first_line(task.about)}"]
    if earlier is not None:
        parts.append(f"Earlier in this session I worked on “{first_line(earlier)}”. You now write:")
    if task.before:
        parts.append(f"I take over here, and read what happened before ({task.before} events).")
    if task.heard > 1:
        parts.append(f"{task.heard} things came together:")
    parts.append(quote(task.words, lines=max(4, 2 * task.heard)))
    parts.append("**Done**\n\n" + "\n".join(f"{n}. {item}" for n, item in enumerate(done, 1)))
    if failed:
        parts.append("**Could not do**\n\n" + "\n".join(f"- {item}" for item in failed))
    addresses = list(dict.fromkeys(links))
    if addresses:
        parts.append("Links:\n\n" + "\n".join(f"- {address}" for address in addresses))
    parts.append(
        "```text\n1 failed before the change, 0 after it\n```" if not failed else "```text\nincomplete\n```"
    )
    return "\n\n".join(parts)


def test_file(task: Task, module: str) -> str:
    """The test that shows the fault."""
    name = task.slug.replace("-", "_")
    return (
        f'"""Shows the fault of {task.subject.key or "this task"}: {first_line(task.about)}."""\n\n'
        f"from {module} import repaired\n\n\n"
        f"def test_{name}() -> None:\n    assert repaired()\n"
    )


def fix_file(task: Task) -> str:
    """The repair."""
    return (
        f'"""Repair of {task.subject.key or "this task"}: {first_line(task.about)}."""\n\n\n'
        "def repaired() -> bool:\n    return True\n"
    )

"""Which agents an agent may call, in both forms of `multiagent` (managed-agents reference §1.8).

Pure functions over the written mapping. An entry that is the name of an agent of the configuration stands for that
agent; anything else (an id, `self`, an advisor) is passed on as it is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

Place = tuple[str | int, ...]
AGENT_ID: Final = "agent_"
"""How ids of the service begin: what begins so and is no name of ours is taken for an id."""


def entries(multiagent: object) -> Iterator[tuple[Place, Any]]:
    """Each entry that may name an agent, with its place inside `multiagent`."""
    if not isinstance(multiagent, Mapping):
        return
    if multiagent.get("type") == "coordinator":
        yield from _listed(multiagent.get("agents"), ("agents",))
        return
    for part in ("subagents", "workflows"):
        inner = multiagent.get(part)
        if isinstance(inner, Mapping):
            yield from _listed(inner.get("predefined_agents"), (part, "predefined_agents"))


def named(entry: object) -> str | None:
    """The name or id that an entry holds, else None (`self`, an advisor)."""
    if isinstance(entry, str):
        return entry
    if isinstance(entry, Mapping) and entry.get("type") == "agent":
        found = entry.get("id")
        return found if isinstance(found, str) else None
    return None


def callable_names(multiagent: object, known: Collection[str]) -> list[str]:
    """Agents of the configuration that are called, each once, in order."""
    found = (named(entry) for _, entry in entries(multiagent))
    return list(dict.fromkeys(name for name in found if name is not None and name in known))


def with_ids(multiagent: Mapping[str, Any], ids: Mapping[str, tuple[str, int | None]]) -> dict[str, Any]:
    """The same, every name replaced by `{type: agent, id, version}`. A version that was written is kept."""

    def replaced(entry: Any) -> Any:
        name = named(entry)
        if name is None or name not in ids:
            return entry
        identifier, version = ids[name]
        written = entry.get("version") if isinstance(entry, Mapping) else None
        pinned = written if written is not None else version
        return {"type": "agent", "id": identifier, **({} if pinned is None else {"version": pinned})}

    bound = dict(multiagent)
    if multiagent.get("type") == "coordinator":
        bound["agents"] = [replaced(entry) for entry in multiagent.get("agents") or []]
        return bound
    for part in ("subagents", "workflows"):
        inner = multiagent.get(part)
        if isinstance(inner, Mapping) and inner.get("predefined_agents"):
            bound[part] = {
                **inner,
                "predefined_agents": [replaced(one) for one in inner["predefined_agents"]],
            }
    return bound


def _listed(value: object, place: Place) -> Iterator[tuple[Place, Any]]:
    if isinstance(value, list | tuple):
        yield from (((*place, index), entry) for index, entry in enumerate(value))

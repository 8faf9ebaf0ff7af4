"""Repositories mounted in a session: their tokens expire (a GitHub App's after an hour) and are replaced in place.

Each has its own connection and token. This module decides nothing about runs.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import structlog

from runner.errors import ServiceError
from runner.timing import Timing
from runner.world import MountAccess, MountError, World
from schemas.dispatch import Repository

log = structlog.get_logger(__name__)


async def resources_of(world: World, mounts: Iterable[Repository]) -> tuple[list[dict[str, Any]], float]:
    """What a session is created with, and in how many seconds the first token has to be replaced. Raises MountError."""
    resources: list[dict[str, Any]] = []
    due = world.timing.token_refresh
    for mount in mounts:
        access = await world.repositories.access(mount.connection, mount.name, write=mount.access == "write")
        resource: dict[str, Any] = {
            "type": "github_repository",
            "url": access.url,
            "authorization_token": access.token,
        }
        if mount.branch:
            resource["checkout"] = {"type": "branch", "name": mount.branch}
        elif mount.commit:
            resource["checkout"] = {"type": "commit", "sha": mount.commit}
        if mount.mount_path:
            resource["mount_path"] = mount.mount_path
        resources.append(resource)
        due = min(due, _due(access, world.timing))
    return resources, due


async def refresh_tokens(world: World, mounts: Iterable[Repository], session: Any) -> float:
    """Give every mount of the session a live token. Return in how many seconds that has to be done again.

    A failure is logged and tried again soon: the old token may still do.
    """
    due = world.timing.token_refresh
    for mount in mounts:
        try:
            access = await world.repositories.access(
                mount.connection, mount.name, write=mount.access == "write"
            )
            for resource in getattr(session, "resources", None) or []:
                if _is(resource, mount, access.url):
                    await world.service.rotate_token(session.id, resource.id, access.token)
        except (MountError, ServiceError) as error:
            log.warning(
                "a repository's token was not replaced",
                session=session.id,
                repository=mount.name,
                reason=str(error),
            )
            due = min(due, world.timing.token_least)
        else:
            due = min(due, _due(access, world.timing))
    return due


def _due(access: MountAccess, timing: Timing) -> float:
    if access.seconds is None:
        return timing.token_refresh
    return max(timing.token_least, access.seconds * timing.token_share)


def _is(resource: Any, mount: Repository, url: str) -> bool:
    if getattr(resource, "type", None) != "github_repository" or getattr(resource, "url", None) != url:
        return False
    return mount.mount_path is None or getattr(resource, "mount_path", None) == mount.mount_path

"""Repositories mounted in a session: their tokens expire (a GitHub App's after an hour) and are replaced in place."""

from __future__ import annotations

from typing import Any

import structlog

from runner.errors import ServiceError
from runner.world import MountError, World
from schemas.dispatch import Repository

log = structlog.get_logger(__name__)


async def refresh_token(world: World, repository: Repository, session: Any) -> None:
    """Give the session's mount of `repository` a live token. A failure is logged: the old one may still do."""
    try:
        access = await world.repositories.access(repository.connection, repository.name)
        for resource in getattr(session, "resources", None) or []:
            if (
                getattr(resource, "type", None) == "github_repository"
                and getattr(resource, "url", None) == access.url
            ):
                await world.service.rotate_token(session.id, resource.id, access.token)
    except (MountError, ServiceError) as error:
        log.warning("a repository's token was not replaced", session=session.id, reason=str(error))

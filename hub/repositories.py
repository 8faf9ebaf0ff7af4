"""Joins the runner's wish for a repository to the connector that hosts it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from connectors.outbox import Outbound
from connectors.poster import PostError, PostRefusedError, RepositoryAccess
from runner.world import MountError


class ConnectedRepositories:
    """`runner.world.Repositories` over the connections' posters."""

    def __init__(self, outbound: Callable[[], Mapping[str, Outbound]]) -> None:
        self._outbound = outbound

    async def access(self, connection: str, name: str, *, write: bool = True) -> RepositoryAccess:
        """Raises MountError."""
        found = self._outbound().get(connection)
        if found is None:
            msg = f"repository {name!r}: the connection {connection!r} has no credential or does not exist"
            raise MountError(msg, permanent=True)
        try:
            return await found.poster.repository(name, write=write)
        except PostRefusedError as error:
            raise MountError(str(error), permanent=True) from None
        except PostError as error:
            raise MountError(str(error), permanent=False) from None

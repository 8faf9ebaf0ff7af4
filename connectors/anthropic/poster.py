"""In place of a poster: a connection to Anthropic only receives. It asks nobody anything."""

from __future__ import annotations

from connectors.base import Identity
from connectors.poster import Post, Poster, PostRefusedError
from schemas.result import Receipt


class NoPoster(Poster):
    """Refuses every post. Rules cannot name one: the connector has no outputs."""

    async def find(self, post: Post) -> Receipt | None:
        del post
        return None

    async def create(self, post: Post) -> Receipt:
        msg = (
            f"{post.output} cannot be posted to anthropic, which only sends webhooks; name another connection"
        )
        raise PostRefusedError(msg)

    async def identify(self) -> Identity:
        return Identity()

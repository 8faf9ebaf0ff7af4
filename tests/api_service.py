"""The JSON API of a hub alone, served over HTTP from a database. Asserts nothing."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from hub import api
from hub.server import serving
from hub.settings import Settings
from router.engine import RuleSet
from router.subscriber import Rules
from storage.database import Database

TOKEN: Final = "tok-0123456789"


@asynccontextmanager
async def served(database: Database, *, token: str | None = TOKEN) -> AsyncIterator[str]:
    """Its address. It has no rules."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        app = api.build(database, Rules(RuleSet([])), Settings(api_token=token), host="127.0.0.1")
        async with serving(app, listener) as server, asyncio.TaskGroup() as tasks:
            tasks.create_task(server.serve(sockets=[listener]))
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
            server.should_exit = True

"""The JSON API under /api/v1, behind a bearer token unless it answers on loopback only. Reads, cancel; nothing else."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from hub.settings import Settings
from router.subscriber import Rules
from storage.database import Database


def build(database: Database, rules: Rules, settings: Settings, *, host: str) -> Any:
    """The ASGI application."""
    app = FastAPI(title="triggerhub", version="1")
    app.state.parts = (database, rules, settings, host)
    return app

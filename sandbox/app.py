"""Composition of the sandbox: one ASGI application with every service under its own path."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import ASGIApp, Scope

from sandbox import admin
from sandbox.github import app as github
from sandbox.jira import app as jira
from sandbox.managed_agents import app as managed_agents
from sandbox.recorder import Cut, Recorder
from sandbox.sentry import app as sentry
from sandbox.slack import app as slack
from sandbox.world import World


def build(world: World, *, cut: Cut | None = None) -> ASGIApp:
    """The whole sandbox. `cut` closes a request's connection; without it the faults that cut raise an error
    instead."""
    routes = [
        Mount("/anthropic", app=managed_agents.build(world)),
        Mount("/github", app=github.build(world)),
        Mount("/jira", app=jira.build(world)),
        Mount("/sentry", app=sentry.build(world)),
        Mount("/slack", app=slack.build(world)),
        Mount("/_sandbox", app=admin.build(world)),
    ]
    return Recorder(Starlette(routes=routes), world=world, cut=cut or _cannot_cut)


def _cannot_cut(scope: Scope) -> None:
    path = scope["path"]
    msg = f"this server cannot cut the connection of {path!r}; run the sandbox with sandbox.server.serve"
    raise RuntimeError(msg)

"""`/_sandbox/vendor/…`: subscribing an address, letting people act, and looking at what was delivered or lost."""

from __future__ import annotations

import inspect
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.vendor.acts import Acts, Told
from sandbox.vendor.post import Attempt
from sandbox.world import World

ACTS: Final = tuple(
    sorted(name for name, _ in inspect.getmembers(Acts, inspect.isfunction) if not name.startswith("_"))
)
"""Names of everything that people can do."""


class NewHook(BaseModel):
    """`POST /_sandbox/vendor/hooks`."""

    model_config = ConfigDict(extra="forbid")

    service: str
    url: str = Field(pattern=r"^http://(127\.0\.0\.1|localhost|\[::1\]):")
    """On this machine: the sandbox sends nowhere else."""
    secret: str = Field(min_length=1)
    drop: float = Field(default=0.0, ge=0, le=1)
    double: float = Field(default=0.0, ge=0, le=1)
    place: str | None = None
    seed: int | None = None


class Act(BaseModel):
    """`POST /_sandbox/vendor/acts`: one of ACTS with its arguments by name."""

    model_config = ConfigDict(extra="forbid")

    act: str
    arguments: dict[str, Any] = Field(default_factory=dict)


def routes(world: World) -> list[Route]:
    """The admin routes below `/vendor`."""
    return [
        Route("/vendor/hooks", _hooks(world), methods=["POST"]),
        Route("/vendor/acts", _acts(world), methods=["POST"]),
        Route("/vendor/deliveries", _deliveries(world), methods=["GET"]),
    ]


async def tell(world: World, told: Told) -> list[Attempt]:
    """Send the webhooks of an act to whoever subscribed. Returns the attempts."""
    made: list[Attempt] = []
    for webhook in told.webhooks:
        made += await world.post.send(told.service, webhook, place=told.place)
    return made


def _hooks(world: World) -> Any:
    async def endpoint(request: Request) -> Response:
        try:
            form = NewHook.model_validate_json(await request.body())
            hook = world.post.add_hook(
                form.service, form.url, form.secret, drop=form.drop, double=form.double, place=form.place
            )
        except ValidationError as error:
            problems = [
                f"{item['loc']}: {item['msg']}"
                for item in error.errors(include_url=False, include_input=False)
            ]
            return JSONResponse({"error": problems}, status_code=400)
        except ValueError as error:
            return JSONResponse({"error": str(error)}, status_code=400)
        if form.seed is not None:
            world.post.seed(form.seed)
        return JSONResponse({"id": hook.id}, status_code=201)

    return endpoint


def _acts(world: World) -> Any:
    async def endpoint(request: Request) -> Response:
        try:
            form = Act.model_validate_json(await request.body())
        except ValidationError:
            return JSONResponse({"error": "an act has `act` and `arguments`"}, status_code=400)
        if form.act not in ACTS:
            return JSONResponse(
                {"error": f"no act {form.act!r}; known are {', '.join(ACTS)}"}, status_code=400
            )
        try:
            told: Told = getattr(Acts(world), form.act)(**form.arguments)
        except (TypeError, ValueError, StopIteration) as error:
            return JSONResponse({"error": str(error)}, status_code=400)
        attempts = await tell(world, told)
        shown = [attempt.as_dict() for attempt in attempts]
        return JSONResponse({"about": told.about, **told.further, "attempts": shown}, status_code=201)

    return endpoint


def _deliveries(world: World) -> Any:
    async def endpoint(_: Request) -> Response:
        return JSONResponse({"attempts": [attempt.as_dict() for attempt in world.post.attempts]})

    return endpoint

"""Resolving secret references (`env:NAME`, `file:PATH`) at start. A value never appears in an error or a log."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from schemas.values import SECRET_REFERENCE


class SecretError(Exception):
    """A reference that cannot be resolved. Names the reference and the remedy, never a value."""


def resolve(reference: str, *, environment: Mapping[str, str] | None = None, where: str = "") -> str:
    """The secret behind a reference. Raises SecretError when it is unset, empty or unreadable."""
    variables = os.environ if environment is None else environment
    at = f"{where}: " if where else ""
    kind, _, name = reference.partition(":")
    if kind == "env":
        value = variables.get(name, "")
        if not value:
            msg = (
                f"{at}the environment variable {name} is not set; set it, or change the reference env:{name}"
            )
            raise SecretError(msg)
        return value
    if kind == "file":
        try:
            value = Path(name).expanduser().read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or type(error).__name__
            msg = f"{at}the secret file {name} cannot be read ({reason})"
            raise SecretError(msg) from None
        if not value:
            msg = f"{at}the secret file {name} is empty"
            raise SecretError(msg)
        return value
    msg = f"{at}a secret must be a reference, env:NAME or file:PATH"
    raise SecretError(msg)


def references(value: Any) -> Iterator[str]:
    """Every secret reference in decoded configuration."""
    if isinstance(value, str):
        if SECRET_REFERENCE.fullmatch(value):
            yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from references(inner)

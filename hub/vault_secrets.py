"""Secrets of the configuration's vaults: resolved when they are needed, sealed with a key that only this hub has."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping

from hub.logs import keep_secret
from hub.secrets import SecretError, references, resolve
from schemas.config import Config


class VaultSecrets:
    """`runner.stores.Secrets` over the environment and files."""

    def __init__(self, key: str, *, environment: Mapping[str, str] | None = None) -> None:
        self._key = key.encode()
        self._environment = environment

    def value(self, reference: str) -> str:
        """The secret. It is kept out of every log from now on. Raises LookupError."""
        try:
            found = resolve(reference, environment=self._environment)
        except SecretError as error:
            raise LookupError(str(error)) from None
        keep_secret([found])
        return found

    def seal(self, text: str) -> str:
        """HMAC under the API key: the same text has the same seal, and without the key nobody can try texts."""
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()


def missing_secrets(config: Config, *, environment: Mapping[str, str] | None = None) -> list[str]:
    """Why each secret of a vault cannot be had; empty where all can."""
    missing: list[str] = []
    for name, vault in config.vaults.items():
        for reference in dict.fromkeys(references(vault.credentials)):
            try:
                resolve(reference, environment=environment, where=f"vault {name}")
            except SecretError as error:
                missing.append(str(error))
    return missing


def check_vaults(config: Config, *, environment: Mapping[str, str] | None = None) -> None:
    """Raise SecretError naming every secret of a vault that is missing."""
    missing = missing_secrets(config, environment=environment)
    if missing:
        raise SecretError("\n".join(missing))

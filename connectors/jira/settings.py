"""Settings of one Jira connection: where the site is, which product it runs, how we sign in. No requests."""

from __future__ import annotations

import re
from typing import Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from connectors.base import ConnectionSettings

Deployment = Literal["cloud", "datacenter"]

CLOUD_HOSTS: Final = (".atlassian.net", ".jira.com", ".atlassian-us-gov-mod.net")
GATEWAY: Final = "api.atlassian.com"
LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})


class JiraSettings(ConnectionSettings):
    """`connections.<name>` with `source: jira`.

    `api_url` is the site (`https://acme.atlassian.net`, `https://jira.acme.example/context`); for scoped API
    tokens and OAuth 2.0 it is `https://api.atlassian.com` and `cloud_id` says which site (or both in one:
    `https://api.atlassian.com/ex/jira/<cloud id>`).
    """

    source: Literal["jira"] = "jira"
    email: str | None = Field(default=None, min_length=3, pattern=r"^[^\s:]+@[^\s:]+$")
    """Owner of the API token (Cloud, Basic authentication). Without it `token` is sent as a Bearer token."""
    deployment: Deployment | None = None
    """Which product; guessed when not given, see `product`."""
    cloud_id: str | None = Field(default=None, pattern=r"^[A-Za-z0-9-]{1,64}$")
    """The site's id behind the API gateway (`https://<site>/_edge/tenant_info` shows it)."""
    site_url: str | None = Field(default=None, pattern=r"^https?://[^\s]+$")
    """Address of the site for people, where `api_url` is the gateway: links to issues are built on it."""
    seen_label: str | None = Field(default=None, pattern=r"^\S{1,255}$")
    """Put on an issue to show that an event of it was seen. None: nothing shows it but a rule's status comment."""
    heal_jql: str | None = Field(default=None, min_length=3, max_length=2000)
    """The webhook's own JQL: what is searched for changes that no webhook told of."""

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        if self.product == "datacenter" and self.email is not None:
            msg = (
                f"email {self.email!r} belongs to Jira Cloud, but deployment is datacenter: remove email and "
                "put a personal access token into token"
            )
            raise ValueError(msg)
        if self.product == "datacenter" and self.cloud_id is not None:
            msg = "cloud_id belongs to Jira Cloud, but deployment is datacenter: remove cloud_id"
            raise ValueError(msg)
        if self._host == GATEWAY and self.cloud_id is None and "/ex/jira/" not in self.api_url:
            msg = f"api_url {self.api_url!r} serves all sites: add cloud_id (see https://<site>/_edge/tenant_info)"
            raise ValueError(msg)
        return self

    @field_validator("heal_jql")
    @classmethod
    def _unordered(cls, value: str | None) -> str | None:
        if value is not None and re.search(r"(?i)\border\s+by\b", value):
            msg = f"heal_jql {value!r} must not say ORDER BY: changes are read oldest first"
            raise ValueError(msg)
        return value

    @property
    def product(self) -> Deployment:
        """`deployment`; else Cloud if `email` or `cloud_id` is given, for Atlassian's hosts, and on loopback
        (our sandbox speaks Cloud); else Data Center.
        """
        if self.deployment is not None:
            return self.deployment
        known = self._host == GATEWAY or self._host.endswith(CLOUD_HOSTS) or self._host in LOOPBACK
        return "cloud" if self.email is not None or self.cloud_id is not None or known else "datacenter"

    @property
    def rest(self) -> str:
        """Base of the REST paths: version 3 (documents) on Cloud, version 2 (wiki markup) on Data Center."""
        site = f"{self.api_url}/ex/jira/{self.cloud_id}" if self.cloud_id is not None else self.api_url
        return f"{site}/rest/api/{'3' if self.product == 'cloud' else '2'}"

    @property
    def rest_of_webhooks(self) -> str:
        """Base of version 2 on both products: its texts are wiki markup, as in webhooks."""
        return f"{self.rest.rpartition('/')[0]}/2"

    @property
    def site(self) -> str | None:
        """Where people open issues; None when only the gateway is known."""
        if self.site_url is not None:
            return self.site_url.rstrip("/")
        return None if self.cloud_id is not None or self._host == GATEWAY else self.api_url

    @property
    def _host(self) -> str:
        try:
            return (urlsplit(self.api_url).hostname or "").lower()
        except ValueError:
            return ""

"""What a Slack connection takes in the configuration. Reads no secret: references are resolved by the hub."""

from __future__ import annotations

from typing import Literal

from connectors.base import ConnectionSettings


class SlackSettings(ConnectionSettings):
    """`connections.<name>` with `source: slack`.

    `webhook_secrets` holds the app's signing secret (Basic Information in Slack's own screens), `token` the
    bot token `xoxb-…`. One connection is one app in one workspace; an app in two workspaces is two
    connections.
    """

    source: Literal["slack"] = "slack"
    api_url: str = "https://slack.com/api"
    """Base of the Web API: a method's name is appended to it."""

"""Anthropic's webhooks about Managed Agents. They ring; what happened is read from the service, elsewhere."""

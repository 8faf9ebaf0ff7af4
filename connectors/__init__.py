"""Connectors: webhooks in, posts out. One folder per source; nothing here knows the router or the runner."""

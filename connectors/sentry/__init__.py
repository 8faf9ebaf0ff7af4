"""Sentry: webhooks of an internal (or public) integration in; comments, states and links on issues out."""

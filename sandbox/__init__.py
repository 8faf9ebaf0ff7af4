"""The emulated outside world: Managed Agents, GitHub, Jira, Sentry and Slack on one loopback port.

The demo, the tests and a user without accounts reach it with the very same clients as the real services, by
changing their base URLs. It imports nothing of triggerhub but `schemas`, and it never calls out.
"""

"""The Jira connector: Cloud and Data Center webhooks in, comments, transitions, labels and remote links out.

Nothing outside this folder may import from it by name; the registry finds `connector.CONNECTOR`.
"""

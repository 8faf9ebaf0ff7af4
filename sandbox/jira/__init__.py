"""The emulated Jira Cloud: REST API v3 (and v2 for wiki markup) as far as triggerhub calls it."""

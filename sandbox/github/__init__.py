"""The emulated GitHub: the REST calls that triggerhub makes, with GitHub's shapes, statuses and error
bodies."""

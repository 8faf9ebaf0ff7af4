"""GitHub: repository, organisation and App webhooks in; comments, pull requests, labels, statuses and checks
out.
"""

"""The story of one fault, told in forty steps over the sandbox: from an alert to the merge, in one session."""

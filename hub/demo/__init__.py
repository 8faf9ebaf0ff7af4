"""The demo: the whole of triggerhub against the sandbox on this machine, without an account anywhere."""

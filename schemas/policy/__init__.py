"""What an agent may publish, decided by pure functions that the runner and the connectors share.

Nothing here opens a socket, reads a clock to decide, or touches the database; vendor data and secrets are arguments.
"""

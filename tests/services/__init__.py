"""Kafka and PostgreSQL for tests: from an address, from Docker, or from packages, started once per session.

Support only. `facts` and `worlds` know the shapes of triggerhub, the others no more than its settings and topic prefix.
"""

"""Kafka and PostgreSQL for tests: from an address, from Docker, or from packages, started once per session.

Support only: `facts` alone knows the shapes of triggerhub, the rest no more than the prefix of its topics and its settings.
"""

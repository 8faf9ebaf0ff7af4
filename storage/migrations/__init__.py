"""Alembic: the database schema, revision by revision."""

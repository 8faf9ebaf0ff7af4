"""Measurements of design §6. Each prints its figure beside its limit, both from the same run. Never a test."""

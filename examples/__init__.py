"""Example configurations and webhooks, one pair for each scenario of the demo. Data only."""

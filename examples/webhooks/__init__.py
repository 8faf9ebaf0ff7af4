"""Webhooks as the vendors would send them, with invented names."""

"""What travels on Kafka or is written by users.

This package imports nothing else of triggerhub and does no input or output.
"""

"""The vendors as senders: people act, state changes, a signed webhook goes out, or gets lost."""

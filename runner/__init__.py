"""The runner role: turns dispatches into Managed Agents sessions and follows them to their end."""

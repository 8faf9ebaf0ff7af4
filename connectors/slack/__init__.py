"""Slack: events, slash commands and clicks in; thread replies, messages, edits and reactions out."""

"""From an event to what shall be done about it: loading rules, matching them, and composing the dispatch.

Everything but the subscriber is pure and synchronous: no socket, no clock, no database. Nothing here may
import connectors or runner.
"""

"""From an event to what shall be done about it: loading rules, matching them, and composing the dispatch.

Loading, matching and composing are pure and synchronous: no socket, no clock, no database. What only the database knows
is asked by the judge and what it calls, over the connection of the subscriber's transaction. Nothing here may import
connectors or runner.
"""

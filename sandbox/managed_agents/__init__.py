"""An emulator of the Claude Managed Agents API: what `AsyncAnthropic(...).beta` talks to, over loopback HTTP.

`app.build(world)` returns the ASGI app. It imports nothing of triggerhub, knows no model, and never leaves
this machine.
"""

"""The emulated Slack Web API: HTTP 200 with `ok: false` for errors, as the real one."""

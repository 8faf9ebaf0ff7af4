"""The composition root: settings, broker, lifespan, command line, web. The only place where parts are wired together."""

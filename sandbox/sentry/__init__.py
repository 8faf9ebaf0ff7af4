"""The emulated Sentry: the organization-scoped issue endpoints and external issues of an installation."""

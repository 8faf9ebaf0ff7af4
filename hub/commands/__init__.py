"""The commands of `triggerhub`, one module for each group."""

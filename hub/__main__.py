"""`python -m hub`: the same as `triggerhub`, for where the console script is not on the path."""

from hub.cli import main

if __name__ == "__main__":
    main()

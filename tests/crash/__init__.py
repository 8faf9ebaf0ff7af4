"""The crash harness: kills everything, under load, by a seeded schedule, and counts what was lost or done twice.

`python -m tests.crash --seed S --kills K`. The judge is the outside world's own record, never the hub's.
"""

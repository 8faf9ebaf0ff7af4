"""What 0.1.0 left behind: messages as it wrote them (`messages/`, made by running it), and rows of its schema (0001).

Written once and never again: a change here would be a change of the past. Asserts nothing.
"""

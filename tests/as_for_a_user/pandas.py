"""Stands before pandas, which the tests use and a user's environment does not have."""

raise ImportError("pandas is not in requirements.txt")

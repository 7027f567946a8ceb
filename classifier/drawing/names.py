"""Names of classes and columns, which may be long."""

LONGEST = 30
"""Characters; what does not fit is left out."""


def shortened(name: str) -> str:
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"

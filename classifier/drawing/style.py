"""What all pictures have in common: colours, names that are cut, PNG files."""

import io
from typing import Any

from matplotlib.figure import Figure

BLUE, VERMILION, GREEN, ORANGE = "#0072B2", "#D55E00", "#009E73", "#E69F00"


LONGEST = 30
"""Characters; what does not fit is left out."""


def shortened(name: str) -> str:
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"


def png_of(figure: Figure, dpi: int, **options: Any) -> bytes:  # noqa: ANN401 (matplotlib's)
    """Return the content of a file; the options are those of matplotlib's `savefig`."""
    buffer = io.BytesIO()
    # Without this, matplotlib signs the picture with its version.
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None}, **options)
    return buffer.getvalue()

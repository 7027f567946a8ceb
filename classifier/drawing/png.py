"""Pictures as PNG files."""

import io
from typing import Any

from matplotlib.figure import Figure


def png_of(figure: Figure, dpi: int, **options: Any) -> bytes:  # noqa: ANN401 (matplotlib's)
    """Return the content of a file; the options are those of matplotlib's `savefig`."""
    buffer = io.BytesIO()
    # Without this, matplotlib signs the picture with its version.
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None}, **options)
    return buffer.getvalue()

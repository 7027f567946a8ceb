"""In what two files differ that hold numbers."""

import io
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

Values = npt.NDArray[Any]


def largest_difference(old: bytes, new: bytes, suffix: str) -> str:
    """Say where two JSON, CSV, Parquet or weights files differ most.

    Numbers differ by the difference over the larger of the two; what is no number differs or does
    not, and comes first. Of other files, or of such as hold none of these, only that they differ.
    """
    try:
        before, after = (dict(values_in(content, suffix)) for content in (old, new))
    except Exception:  # noqa: BLE001 (what a forged file makes a reader raise has no end)
        return "it cannot be read"
    if not before and not after:
        return "other bytes"
    largest, where = 0.0, "other bytes, the same values"
    for place in sorted(before.keys() | after.keys()):
        if place not in before or place not in after:
            return f"{place} is in one alone"
        one, other = before[place], after[place]
        if one.shape != other.shape:
            return f"{place} has the shape {one.shape} instead of {other.shape}"
        if one.dtype.kind not in "fiu" or other.dtype.kind not in "fiu":
            differs = np.flatnonzero([str(a) != str(b) for a, b in zip(one, other, strict=True)])
            if len(differs):
                first = int(differs[0])
                return f"{place}[{first}] is {one[first]!s:.40} instead of {other[first]!s:.40}"
            continue
        one, other = one.astype(np.float64), other.astype(np.float64)
        scale = np.maximum(np.maximum(np.abs(one), np.abs(other)), np.finfo(float).tiny)
        with np.errstate(all="ignore"):
            relative = np.nan_to_num(np.abs(one - other) / scale, nan=np.inf)
        relative[np.isclose(one, other, rtol=0, atol=0, equal_nan=True)] = 0
        if relative.max(initial=0) > largest:
            worst, largest = int(relative.argmax()), float(relative.max())
            where = f"{place}[{worst}] by {largest:.2g} of itself"
    return where


def values_in(content: bytes, suffix: str) -> Iterator[tuple[str, Values]]:
    """Yield what a file holds, as arrays of one dimension with the names of their places."""
    if suffix == ".json":
        yield from _leaves(json.loads(content), "")
    elif suffix in {".csv", ".parquet"}:
        read = pd.read_csv if suffix == ".csv" else pd.read_parquet
        for name, column in read(io.BytesIO(content)).items():
            yield str(name), column.to_numpy()
    elif suffix == ".pt":
        yield from _leaves(torch.load(io.BytesIO(content), weights_only=True), "")


def _leaves(value: Any, place: str) -> Iterator[tuple[str, Values]]:  # noqa: ANN401 (JSON, or a checkpoint)
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, f"{place}.{key}" if place else str(key))
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from _leaves(item, f"{place}[{number}]")
    elif isinstance(value, torch.Tensor):
        yield place, value.detach().cpu().numpy().ravel()
    else:
        yield place, np.array([value])

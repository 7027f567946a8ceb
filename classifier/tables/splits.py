"""Which rows are for training, for validation and for the test."""

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import train_test_split

from classifier.io.user_error import UserError
from classifier.tables.labels import A_GLANCE, Labels


def split_rows(
    labels: Labels, test_size: float, val_size: float, seed: int
) -> dict[str, npt.NDArray[np.int64]]:
    """Return the positions of the train, val and test rows, each in order, stratified by class.

    Raises
    ------
    UserError
        If a part would be empty, or would have no row of some class.

    """
    rows = np.arange(len(labels.indices))
    n_test = round(test_size * len(rows))
    n_val = round(val_size * len(rows))
    for key, size, n in [("test_size", test_size, n_test), ("val_size", val_size, n_val)]:
        if n == 0 or n_test + n_val >= len(rows):
            raise UserError(
                f"params.yaml: prepare.{key} is {size}, which of {len(rows)} rows "
                f"takes {n}, leaving {len(rows) - n_test - n_val} to train on; each part needs some"
            )
    counts = np.bincount(labels.indices)
    rarest = int(counts.argmin())
    remedy = "add rows of it, or remove those there are"
    if counts[rarest] >= len(("train", "val", "test")):
        remedy += ", or raise prepare.test_size or prepare.val_size"
    if labels.kind == "integer" and len(counts) > A_GLANCE:
        remedy += f"; if its {len(counts)} numbers are a quantity and no classes, group them"
    too_rare = UserError(
        f"{labels.where}: class '{labels.classes[rarest]}' has {counts[rarest]} of {len(rows)} "
        f"rows, too few for each of train, val and test to have one; {remedy}"
    )
    try:
        rest, test = train_test_split(
            rows, test_size=n_test, stratify=labels.indices, random_state=seed
        )
        train, val = train_test_split(
            rest, test_size=n_val, stratify=labels.indices[rest], random_state=seed
        )
    except ValueError:
        raise too_rare from None
    splits = {"train": np.sort(train), "val": np.sort(val), "test": np.sort(test)}
    if any(
        np.bincount(labels.indices[part], minlength=len(counts)).min() == 0
        for part in splits.values()
    ):
        raise too_rare
    return splits

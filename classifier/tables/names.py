"""Names of columns: those that parameters name, and those of the features."""

import difflib

from classifier.io.user_error import UserError, quoted
from classifier.tables.prepare_params import PrepareParams

MOST_NAMES = 20
"""In a message."""


def check_names(columns: list[str], params: PrepareParams) -> None:
    """Refuse parameters that name a column that there is not, or the target.

    Raises
    ------
    UserError
        Names the parameter and the columns.

    """
    there = in_quotes(columns)
    if params.target not in columns:
        raise UserError(
            f"{params.data} has no column '{params.target}'{nearest(params.target, columns)}; "
            f"prepare.target must be one of: {there}"
        )
    for key in ("ignore", "features", "categorical", "group", "order_by"):
        value = getattr(params, key) or []
        for name in [value] if isinstance(value, str) else value:
            if name not in columns:
                raise UserError(
                    f"params.yaml: prepare.{key} names '{name}'{nearest(name, columns)}, but the "
                    f"columns of {params.data} are: {there}"
                )
            if name == params.target:
                raise UserError(f"params.yaml: prepare.{key} names '{name}', which is the target")


def choose_features(
    columns: list[str], params: PrepareParams, left_out: dict[str, str]
) -> list[str]:
    """Return the names of the feature columns, in the table's order.

    Raises
    ------
    UserError
        If none is left.

    """
    chosen = columns if params.features is None else params.features
    others = {params.target, params.group, *params.ignore, *left_out}
    features = [name for name in columns if name in chosen and name not in others]
    if not features:
        there = in_quotes(columns)
        raise UserError(
            f"{params.data} has no features left: prepare.target is '{params.target}', and "
            f"prepare.ignore and prepare.features leave out the rest of: {there}"
        )
    return features


def in_quotes(names: list[str]) -> str:
    """Return the names for a message, the first of many alone."""
    more = len(names) - MOST_NAMES
    shown = quoted(names[:MOST_NAMES])
    return f"{shown} and {more} more, up to '{names[-1]}'" if more > 0 else shown


def nearest(name: str, names: list[str]) -> str:
    """Return what may have been meant, for a message."""
    by_lower = {one.lower(): one for one in reversed(names)}
    close = difflib.get_close_matches(name.lower(), by_lower, n=3, cutoff=0.5)
    meant = " or ".join(f"'{by_lower[one]}'" for one in close)
    return f" (did you mean {meant}?)" if meant else ""

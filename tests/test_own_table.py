"""Whole tables through the whole pipeline: as accurate as scikit-learn, and never a traceback."""

import contextlib
import csv
import json
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder

from classifier.exported_model.format import Graph
from classifier.exported_model.preparation import add_preparation
from classifier.io.user_error import UserError
from classifier.tables.open_table import open_table
from classifier.tables.prepare_params import AS_THE_FILE_SAYS
from classifier.tables.values import raw_values
from tests.in_process import (
    prepared,
    prepared_schema,
    run_all,
    run_graph,
    run_predict,
    run_prepare,
    table_report,
)

# Accuracy


def generated() -> pd.DataFrame:
    """Return texts, booleans, gaps, and one row in seven of the rarer class."""
    random = np.random.default_rng(5)
    n = 1500
    age = random.integers(18, 90, n).astype(float)
    plan = random.choice(["free", "basic", "premium, yearly"], n, p=[0.5, 0.3, 0.2])
    active = random.random(n) < 0.5
    usage = random.gamma(2, 10, n)
    score = (age - 50) / 15 + 2 * (plan == "free") - 2 * active - usage / 20 - 1.2
    table = pd.DataFrame(
        {"age": age, "plan": plan, "active": active.astype(object), "usage": usage}
    )
    for name in table:
        table.loc[random.random(n) < 0.05, name] = None
    table["churned"] = random.random(n) < 1 / (1 + np.exp(-2 * score))
    return table


def test_as_accurate_as_scikit_learn(folder: Path) -> None:
    table, target = generated(), "churned"
    table.to_csv("table.csv", index=False)
    run_all(
        folder,
        "table.csv",
        target,
        train__hidden=[20],
        train__optimizer="adam",
        train__lr=0.01,
        train__batch_size=64,
        train__max_epochs=60,
        train__eval_every=2,
        train__patience=8,
    )
    ours = json.loads(Path("metrics.json").read_text())["accuracy"]

    train, test = (table.iloc[prepared(part).rows - 2] for part in ("train", "test"))
    pipeline = make_pipeline(
        make_column_transformer(
            (
                make_pipeline(SimpleImputer(strategy="median"), MinMaxScaler()),
                make_column_selector(dtype_include="number"),
            ),
            (
                OneHotEncoder(handle_unknown="ignore"),
                make_column_selector(dtype_exclude="number"),
            ),
        ),
        MLPClassifier((20,), learning_rate_init=0.01, batch_size=64, max_iter=60, random_state=0),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        pipeline.fit(train.drop(columns=target), train[target])
    theirs = pipeline.score(test.drop(columns=target), test[target])
    # Two standard errors of the difference of two accuracies near theirs; at least one row's worth.
    variance = max(theirs * (1 - theirs), 1 / len(test)) / len(test)
    assert abs(ours - theirs) <= 2 * np.sqrt(2 * variance)
    assert ours > table[target].value_counts(normalize=True).iloc[0]


# Any table


@contextmanager
def in_temporary_folder() -> Iterator[Path]:
    """Make a folder for one example: hypothesis would share tmp_path among all of them."""
    with tempfile.TemporaryDirectory() as name, contextlib.chdir(name):
        yield Path(name)


NAMES = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=4
) | st.sampled_from(["row", "predicted", "x", "y", "é", "a,b", 'q"', "NA", " "])

TEXTS = st.sampled_from(
    ["red", " red", "d'or", "x,y", 'say "x"', "1", "2.5", "é", "two\nlines", "NA"]
)

GAP = st.none()


def columns(n: int) -> st.SearchStrategy[list[object]]:
    """Return a strategy for a column of n values, most of them of one kind."""
    numbers = st.floats(-100, 100) | st.integers(-5, 5)
    kinds: list[st.SearchStrategy[Any]] = [
        st.floats(allow_nan=False, allow_infinity=False),
        st.integers(-(2**70), 2**70),
        numbers,
        numbers | GAP,
        st.booleans(),
        st.booleans() | GAP,
        TEXTS,
        TEXTS | GAP,
        st.text(max_size=3),
        numbers | TEXTS,
        st.just(7),
        GAP,
        st.dates().map(str),
        st.sampled_from(["inf", "-inf", "1e999", "1_0", "0x1", "Infinity", "nan", "1", "+2"]),
    ]
    # The harmless ones more often: else hardly a table would go through.
    return st.sampled_from([*kinds, *kinds[2:8] * 4]).flatmap(
        lambda kind: st.lists(kind, min_size=n, max_size=n)
    )


@st.composite
def tables(draw: st.DrawFn) -> dict[str, list[Any]]:
    n = draw(st.integers(15, 40))
    names = draw(st.lists(NAMES, min_size=1, max_size=4, unique=True))
    table = {name: draw(columns(n)) for name in names}
    choices: list[list[Any]] = [["a", "b"], [0, 1], [True, False], [-1, 5, 10], ["ä", "x y", "1"]]
    labels = draw(st.sampled_from(choices))
    target = [labels[i % len(labels)] for i in range(n)]
    table["target"] = draw(st.just(target) | columns(n)) if draw(st.booleans()) else target
    return table


def write_csv(path: Path, table: dict[str, list[Any]], delimiter: str = ",") -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerow(table)
        writer.writerows(zip(*table.values(), strict=True))


PREPARATIONS = st.fixed_dictionaries(
    {
        "prepare__scaler": st.sampled_from(["minmax", "standard", "squash", "none"]),
        "prepare__missing_indicator": st.booleans(),
        "prepare__max_categories": st.integers(2, 8),
        "prepare__beyond_max_categories": st.sampled_from(["error", "other"]),
    }
)


@settings(max_examples=40, deadline=None)
@given(
    table=tables(),
    preparation=PREPARATIONS,
    delimiter=st.sampled_from(",;\t"),
    is_parquet=st.booleans(),
    is_learned=st.sampled_from([False, False, False, True]),
)
def test_every_table_is_prepared_and_learned_from_or_refused(
    table: dict[str, list[Any]],
    preparation: dict[str, object],
    delimiter: str,
    *,
    is_parquet: bool,
    is_learned: bool,
) -> None:
    with in_temporary_folder() as folder:
        name = "table.csv"
        write_csv(folder / name, table, delimiter)
        if is_parquet:
            try:
                arrow = pa.table(table)
            except (pa.ArrowException, OverflowError):  # no type for such a mixture
                return
            name = "table.parquet"
            pq.write_table(arrow, folder / name)
        try:
            run_prepare(folder, name, "target", **preparation)
        except UserError:
            assert [path.name for path in folder.iterdir() if path.is_dir()] == []
            return
        schema = prepared_schema()
        file = open_table(folder / name, name, AS_THE_FILE_SAYS)
        read = file.read(text_columns={"target"})
        raw = {
            one.name: raw_values(one, read[one.name], file.spelling, name) for one in schema.columns
        }
        graph = Graph("\0")
        features = add_preparation(graph, schema)
        (exported,) = run_graph(
            graph, {name: one[:, None] for name, one in raw.items()}, [features]
        )
        seen = 0
        for part in ("train", "val", "test"):
            split = prepared(part)
            assert np.isfinite(split.features).all()
            assert split.features.shape == (len(split.rows), schema.n_features)
            assert set(split.target) == set(range(len(schema.classes)))
            assert np.array_equal(exported[read.index.get_indexer(split.rows)], split.features)
            seen += len(split.rows)
        report = table_report()
        assert seen == report["rows"] == len(read) - report["rows_without_target"]
        if not is_learned:
            return
        short = {"train__max_epochs": 2, "train__eval_every": 1, "train__lr": 0.001}
        try:
            run_all(folder, name, "target", **short, **preparation)
            run_predict(name, "-o", "out.parquet")
        except UserError:
            return
        predicted = pq.read_table("out.parquet")
        assert len(predicted) == len(table["target"])
        evaluated = pd.read_csv("reports/predictions.csv", keep_default_na=False, dtype=str)
        ours = [
            str(predicted["predicted"][int(row) - 2].as_py()).lower() for row in evaluated["row"]
        ]
        assert ours == [name.lower() for name in evaluated["predicted"]]

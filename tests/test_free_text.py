"""Free texts: what `prepare` and the exported model make of them, and which `start` finds."""

from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer
from threadpoolctl import threadpool_limits

from classifier.exported_model.format import Graph
from classifier.exported_model.load import ROWS_AT_ONCE, ExportedModel, code_points
from classifier.exported_model.preparation import add_components
from classifier.io.pieces import LENGTHS, folded, pieces
from classifier.io.schema import Scaling, Schema, TextColumn
from classifier.tables.free_text import Components
from tests.conftest import REPOSITORY
from tests.in_process import (
    prepared,
    prepared_bytes,
    prepared_schema,
    raw_of,
    refused,
    run_all,
    run_graph,
    run_predict,
    run_prepare,
    run_start,
    table_report,
)

QUICK = {"train__max_epochs": 4, "train__eval_every": 2, "train__lr": 0.1}

AWKWARD = "aAbBσΣςİıßẞéE\u0301\u212aKkǅ🔻👽 \u00a0\u2003\u3000\t\n\r\x0b\x1c\x85\x00\x01,"  # noqa: RUF001
"""Letters whose small one depends on where they stand, or is two; marks; blanks of all kinds."""

TEXTS = st.text(st.sampled_from(AWKWARD) | st.characters(codec="utf-8"), max_size=40)


def learn(known: list[str], n_components: int = 5) -> tuple[Components, TextColumn]:
    learnt = Components(pd.Series(known), n_components)
    as_they_are = [Scaling(median=0, offset=0, scale=1)] * (len(learnt.weights) - 1)
    column = TextColumn(
        name="text",
        pieces=learnt.pieces,
        weights=learnt.weights.tobytes(),
        components=as_they_are,
        missing_indicator=False,
    )
    return learnt, TextColumn.model_validate_json(column.model_dump_json())


def by_graph(column: TextColumn, texts: list[str]) -> tuple[npt.NDArray[np.float64], ...]:
    """Return what the exported model makes of texts: NaN for gaps, and components."""
    graph = Graph("_")
    outputs = add_components(graph, column)
    gaps, found = run_graph(graph, {"text": code_points(np.array(texts, object))}, outputs)
    return gaps[:, 0], found


@cache
def awkward() -> tuple[Components, TextColumn]:
    words = (first + second + third for first in AWKWARD for second in "aΣ" for third in AWKWARD)
    return learn([*words, *AWKWARD, "kelvin STRASSE", "Σίσυφος ΣΊΣΥΦΟΣ", "Ísland ÍSLAND a b"])


@settings(max_examples=25)
@given(st.lists(TEXTS, min_size=1, max_size=20))
def test_the_exported_model_makes_of_any_texts_what_prepare_does(texts: list[str]) -> None:
    learnt, column = awkward()
    gaps, found = by_graph(column, texts)
    # Sums in double precision, in another order.
    np.testing.assert_allclose(found, learnt.of(pd.Series(texts)).T, rtol=0, atol=1e-12)
    assert np.isnan(gaps).tolist() == [not folded(text).strip() for text in texts]


@settings(max_examples=10)
@given(st.lists(TEXTS.filter(lambda text: folded(text).strip()), min_size=1, max_size=9))
def test_so_it_does_whatever_was_learnt(texts: list[str]) -> None:
    learnt, column = learn(texts, 3)
    _, found = by_graph(column, [*texts, "", "other"])
    expected = learnt.of(pd.Series([*texts, "", "other"])).T
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


@given(TEXTS)
def test_pieces_are_those_of_scikit_learn(text: str) -> None:
    of_text = TfidfVectorizer(analyzer="char_wb", ngram_range=LENGTHS, lowercase=False)
    ours = [piece for word in folded(text).split() for piece in pieces(word)]
    assert sorted(ours) == sorted(of_text.build_analyzer()(folded(text)))


@pytest.mark.parametrize("text", ["some words of a text", "other words", "words"])
def test_the_longest_text_ends_with_a_blank_too(text: str) -> None:
    learnt, column = learn(["some words of a text", "other words", "a third text"])
    _, found = by_graph(column, [text])
    expected = learnt.of(pd.Series([text])).T
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def test_long_texts_beside_short_ones() -> None:
    learnt, column = learn(["some words of a text", "other words", "a third text"])
    texts = ["Words, WORDS. " * 7_000, "a", "", "text\0\0text", "x" * 100_000]
    _, found = by_graph(column, texts)
    # Of a million characters.
    np.testing.assert_allclose(found, learnt.of(pd.Series(texts)).T, rtol=0, atol=1e-9)
    assert np.array_equal(found[4], np.zeros(found.shape[1]))


def titles(n: int = 160) -> pd.DataFrame:
    """Return a table of which words tell the class, and numbers of tickets do not."""
    random = np.random.default_rng(0)
    is_sweet = random.random(n) < 0.5
    things = np.where(is_sweet, random.choice(["Cake", "pie", "CANDY"], n), "soup")
    things = np.where(random.random(n) < 0.1, "thing", things)
    adjectives = random.choice([f"{word}er" for word in ("new", "old", "small")], n)
    title = [
        f"{one}  {two}\nno. {i}"
        for i, (one, two) in enumerate(zip(adjectives, things, strict=True))
    ]
    first = np.where(is_sweet, random.integers(0, 3, n), random.integers(2, 5, n))
    return pd.DataFrame(
        {
            "title": title,
            "postcode": [f"0{one}{random.integers(1000):03}" for one in first],
            "ticket": [f"T-{one}" for one in random.permutation(10**6)[:n]],
            "size": random.normal(0, 1, n).round(2),
            "y": np.where(is_sweet, "sweet", "salty"),
        }
    )


@pytest.fixture
def _titles(folder: Path) -> None:
    titles().to_csv(folder / "t.csv", index=False)


TITLE = {"prepare__text": ["title"], "prepare__ignore": ["postcode", "ticket"]}


@pytest.mark.usefixtures("_titles")
def test_start_finds_texts_and_codes_and_what_only_says_which_row_it_is(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "params.yaml").write_text((REPOSITORY / "params.yaml").read_text())
    run_start("t.csv", "y", "--force")
    params = yaml.safe_load((folder / "params.yaml").read_text())["prepare"]
    assert sorted(params["text"]) == ["postcode", "title"]
    assert params["ignore"] == ["ticket"]
    assert params["categorical"] == []
    assert params["beyond_max_categories"] == "error"
    printed = capsys.readouterr().out
    assert "decided: prepare.text: title (has 128 different texts in the training rows" in printed
    assert "title     free text     0  128 different, such as '" in printed


@pytest.mark.usefixtures("_titles")
def test_a_small_table_of_texts_alone(folder: Path) -> None:
    (folder / "params.yaml").write_text((REPOSITORY / "params.yaml").read_text())
    titles(60)[["title", "y"]].to_csv("small.csv", index=False)
    run_start("small.csv", "y", "--force")
    assert yaml.safe_load((folder / "params.yaml").read_text())["prepare"]["text"] == ["title"]


@pytest.mark.usefixtures("_titles")
def test_too_many_texts_are_refused_with_what_settles_it(folder: Path) -> None:
    with refused(
        "words in which tell the class; raise that, or name it in prepare.ignore; add 'ti"
    ):
        run_prepare(folder, "t.csv", "y", prepare__ignore=["postcode", "ticket"])
    with refused("prepare.text names 'titel' (did you mean 'title'"):
        run_prepare(folder, "t.csv", "y", prepare__text=["titel"])


@pytest.mark.usefixtures("_titles")
def test_from_table_to_predictions(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    long = "Newer cake, " * 50 + "\nand pie"
    titles().assign(title=lambda table: table["title"].where(table.index % 2 == 0, long)).to_csv(
        "long.csv", index=False
    )
    run_all(folder, "long.csv", "y", **QUICK, **TITLE, prepare__text_components=7)
    importance = pd.read_csv("reports/importance.csv")
    assert sorted(importance["column"]) == ["size", "title"]
    assert prepared_schema().feature_names[6:] == ["title: component 7", "size"]
    assert prepared_schema().numeric_features == tuple(range(8))
    wrong = pd.read_csv("reports/most_wrong.csv")
    assert (long[:77] + "...") in wrong["title"].tolist()
    assert wrong["title"].str.len().max() == 80

    run_predict("long.csv", "-o", "p.csv")
    assert capsys.readouterr().err == ""
    predicted = pd.read_csv("p.csv")
    evaluated = pd.read_csv("reports/predictions.csv")
    ours = predicted.iloc[evaluated["row"] - 2]
    # Torch and onnxruntime add up in single precision, each in its own order.
    np.testing.assert_allclose(
        ours["probability_sweet"], evaluated["probability_sweet"], rtol=0, atol=1e-6
    )

    titles().assign(title=["Katzenjammer Überraschung", "cake", "qq vv"] * 53 + ["cake"]).to_csv(
        "new.csv"
    )
    run_predict("new.csv", "-o", "q.csv")
    (warning,) = capsys.readouterr().err.splitlines()
    assert warning.startswith(
        "predict: warning: column 'title': most words, 212 of 266, have littl"
    )


@pytest.mark.usefixtures("_titles")
def test_any_batch_of_rows_gets_the_same(folder: Path) -> None:
    pd.concat([titles()] * 3).to_csv("twice.csv", index=False)
    run_all(folder, "t.csv", "y", **QUICK, **TITLE)
    model = ExportedModel(folder / "models/model.onnx")
    raw = raw_of("twice.csv", model.schema)
    whole = model.probabilities(raw)
    assert len(whole) == 480 > ROWS_AT_ONCE
    for n in (1, 7, 300):
        parts = [
            model.probabilities({name: values[start : start + n] for name, values in raw.items()})
            for start in range(0, 480, n)
        ]
        assert np.array_equal(np.concatenate(parts), whole), n
    raw["title"][3] = "soup " * 60_000
    assert np.array_equal(np.delete(model.probabilities(raw), 3, 0), np.delete(whole, 3, 0))
    assert model.probabilities({name: one[:0] for name, one in raw.items()}).shape == (0, 2)


def test_gaps_are_empty_however_they_are_spelled(folder: Path) -> None:
    table = titles()
    for start, gap in enumerate(["", "  ", "NA", "unknown"]):
        table.loc[start::8, "title"] = gap
    table.to_csv("g.csv", index=False)
    gaps = {"prepare__missing_indicator": True, "prepare__gaps": ["unknown"]}
    run_all(folder, "g.csv", "y", **QUICK, **TITLE, **gaps)
    train = prepared("train")
    is_gap = (train.rows - 2) % 8 < 4
    assert np.array_equal(train.features[:, -2], is_gap.astype(np.float32))
    assert len(np.unique(train.features[is_gap, :-2], axis=0)) == 1
    model = ExportedModel(folder / "models/model.onnx")
    raw = {"title": np.array(["", " \t\0", "x"], object), "size": np.zeros(3)}
    empty, blank, unknown = model.probabilities(raw)
    assert np.array_equal(empty, blank)
    assert not np.array_equal(empty, unknown)


@pytest.mark.usefixtures("_titles")
def test_texts_of_numbers_and_of_one_word(folder: Path) -> None:
    table = titles()
    table["postcode"] = pd.Series(range(160), dtype="Int64").where(table.index % 3 > 0)
    table["name"] = np.where(table.index % 2, "Same", "same ")
    table.to_parquet("n.parquet")
    columns = {"prepare__text": ["postcode", "name"], "prepare__ignore": ["ticket", "title"]}
    run_prepare(folder, "n.parquet", "y", **columns)
    assert table_report()["left_out"] == {"name": "it is 'same' in every training row"}
    (column, _) = prepared_schema().columns
    assert isinstance(column, TextColumn)
    assert not [piece for piece in column.pieces if "." in piece]


@pytest.mark.usefixtures("_titles")
def test_what_is_learnt_is_the_same_with_any_number_of_threads(folder: Path) -> None:
    found = []
    for n_threads in (1, 2):
        with threadpool_limits(n_threads, "blas"):
            run_prepare(folder, "t.csv", "y", **TITLE)
        found.append(prepared_bytes())
    assert found[0] == found[1]


@pytest.mark.usefixtures("_titles")
def test_weights_that_do_not_fit_are_refused(folder: Path) -> None:
    run_prepare(folder, "t.csv", "y", **TITLE)
    column = prepared_schema().columns[0]
    assert isinstance(column, TextColumn)
    wrong = column.model_copy(update={"weights": column.weights[:-2]})
    schema = prepared_schema().model_copy(update={"columns": [wrong]})
    with pytest.raises(ValueError, match="weights"):
        Schema.model_validate_json(schema.model_dump_json())

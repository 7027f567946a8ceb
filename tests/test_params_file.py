"""params.yaml as `start` and `search --apply` leave it: what was meant, whatever was there."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.utils.serialize import parse_yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from classifier.io.params import read_section
from classifier.io.yaml_text import from_yaml, in_quotes, in_yaml
from classifier.starting.choice import Choice, DecidedParam, choose, first_params, training_params
from classifier.starting.params_file import with_params, write_params
from classifier.tables.prepare_params import AS_THE_FILE_SAYS
from tests.conftest import REPOSITORY
from tests.in_process import refused
from tests.test_odd_tables import BASE, NO_HEADER, ODD, N, csv, front

SHIPPED = (REPOSITORY / "params.yaml").read_text()

FILE = Path("params.yaml")

LOADS: list[Callable[[str], Any]] = [from_yaml, yaml.safe_load]
"""Of YAML 1.2 and 1.1."""

QUIET = settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15
)


@pytest.fixture(autouse=True)
def _in_a_folder(folder: Path) -> None:
    (folder / FILE).write_text(SHIPPED)


def as_started(choice: Choice, training: dict[str, object]) -> str:
    """Return params.yaml as `start` leaves it."""
    return with_params({"prepare": choice.params.model_dump(), "train": training}, choice.reasons)


TABLES = {
    **{
        name: (table, "c4" if outcome is NO_HEADER else "label")
        for name, (table, outcome) in ODD.items()
        if outcome.error or outcome.left_out
    },
    "row numbers": (csv(front("id", range(N)).assign(nr=range(5, 5 + N))), "label"),
    "row numbers called No": (csv(front("No", range(N))), "label"),
    "a target called no": (csv(BASE.rename(columns={"label": "no"})), "no"),
    "a target called 12:30:45": (csv(BASE.rename(columns={"label": "12:30:45"})), "12:30:45"),
    "a name with everything": (csv(front("a: [b], # 'c' \"d\"\n\x07", range(N))), "label"),
}


def test_a_second_table_as_in_a_fresh_clone(folder: Path) -> None:
    chosen, fresh = [], []
    comments, shipped = re.findall(r"# .*", SHIPPED), from_yaml(SHIPPED)
    for name, (table, target) in TABLES.items():
        (folder / name).write_bytes(table)
        choice, prepared = choose(first_params(name, target, AS_THE_FILE_SAYS, None, None))
        training = training_params(len(prepared.rows.parts["train"]))
        text = as_started(choice, training)
        assert [comment for comment in comments if comment not in text] == []
        prepare, train = choice.params.model_dump(), shipped["train"] | training
        for load in LOADS:
            assert load(text) == shipped | {"prepare": prepare, "train": train}
        chosen.append((choice, training))
        fresh.append(text)
    # All pairs would take minutes: each table once before another one, and once after.
    for first, second, expected in zip(fresh, chosen[5:] + chosen, fresh[5:] + fresh, strict=False):
        FILE.write_text(first)
        assert as_started(*second) == expected


@pytest.mark.parametrize(
    "text", ["no", "12:30:45", "1e-3", "1e3", "0o17", "017", "1_000", "~", "2024-01-01"]
)
def test_stages_read_what_dvc_reads(folder: Path, text: str) -> None:
    FILE.write_text(f"prepare:\n  value: {text}\n")
    assert read_section("prepare") == parse_yaml(FILE.read_text(), folder)["prepare"]


def test_line_ends_are_kept() -> None:
    FILE.write_bytes(SHIPPED.replace("\n", "\r\n").encode())
    write_params(with_params({"train": {"hidden": [64]}}))
    expected = SHIPPED.replace("hidden: [10]", "hidden: [64]")
    assert FILE.read_bytes() == expected.replace("\n", "\r\n").encode()


ODD_TEXTS = [
    *("no", "Off", "y", "~", "null", "1e3", "-.5", "0o7", "017", "1_0", "12:30:45", "12:30:45.5"),
    *("=", "<<", "2024-1-1", "0x1f", ".inf", "- a", "? a", "a:", ": a", "%a", "@a", "!a", "&a"),
    *("*a", "|", "[", "{a: b}", "---", "...", "#a", "a #b", "it's", '"', "a, b", "\ufeff", ""),
]
TEXTS = st.one_of(
    st.sampled_from(ODD_TEXTS),
    st.text(st.characters(codec="utf-8")),
    st.text("019.:-+_eEynox, []{}#'\"\\\t\n\x85\N{LINE SEPARATOR}"),
)


@settings(QUIET, max_examples=50)
@given(TEXTS)
@example("two\x85lines")
@example("two\N{LINE SEPARATOR}lines")
def test_each_text_is_read_as_itself(text: str) -> None:
    for load in LOADS:
        for spelled in (in_yaml(text), in_quotes(text)):
            assert spelled.splitlines() == [spelled]
            expected = {"name": text, "list": [text, "end"]}
            assert load(f"name: {spelled} # c\nlist:\n- {spelled} # c\n- end") == expected
        assert load(f"[{in_quotes(text)}, {{a: {in_quotes(text)}}}]") == [text, {"a": text}]


@QUIET
@given(st.floats(allow_nan=False, allow_infinity=False))
@example(1e-05)
def test_each_number_is_read_as_itself(number: float) -> None:
    assert [load(in_yaml(number)) for load in LOADS] == [number, number]


COMMENTS = st.sampled_from(["", " # by me", '  # by me: it\'s "so" # ['])


@st.composite
def spelled_by_people(draw: st.DrawFn, value: Any, indent: str) -> str:  # noqa: ANN401
    """Return what follows the colon, as people write it."""
    if not isinstance(value, list) or not value:
        before = draw(st.sampled_from([" ", "   ", f"  # by me\n{indent}   "]))
        spelled = draw(st.sampled_from([in_yaml(value), in_quotes(value)]))
        return before + spelled + draw(COMMENTS)
    items = [draw(st.sampled_from([in_yaml, in_quotes]))(item) for item in value]
    deeper = indent + draw(st.sampled_from(["", "  ", "    "]))
    comment = draw(COMMENTS)
    match draw(st.sampled_from(["flow", "lines", "block"])):
        case "flow":
            return f" [{', '.join(map(in_quotes, value))}]{comment}"
        case "lines":
            lines = [f"{indent}  {in_quotes(item)},  # of an item\n" for item in value]
            return f" [\n{''.join(lines)}{indent}  ]{comment}"
    above = draw(st.sampled_from(["", f"\n{deeper}# by me, too"]))
    below = [f"\n{deeper}- {item}{draw(st.sampled_from(['', '  # of an item']))}" for item in items]
    return f"{comment}{above}{''.join(below)}"


@st.composite
def sections(draw: st.DrawFn, values: dict[str, Any]) -> str:
    indent = " " * draw(st.integers(1, 5))
    lines = []
    for name in draw(st.permutations(list(values))):
        lines.append(draw(st.sampled_from(["", "", "", "\n", f"{indent}# above {name}\n"])))
        key = draw(st.sampled_from([name, name, f'"{name}"', f"{name} "]))
        lines.append(f"{indent}{key}:{draw(spelled_by_people(values[name], indent))}\n")
    return "".join(lines)


OTHERS = "other:\n      - {a:   1,b: no}   # kept\n\n\n# kept, too\nlast: &x ['y' ,  'z']\nxs: *x\n"

LISTS_OF_TEXTS = st.lists(TEXTS.filter(bool), max_size=3, unique=True)
PREPARE = first_params("t.csv", "y", AS_THE_FILE_SAYS, None, None)
WRITTEN = PREPARE.model_dump(include={"data", "features", "scaler", "test_size", "seed"})
TRAIN = {"embedding": "none", "hidden": [10], "lr": 0.01, "max_grad_norm": None, "seed": 42}


@st.composite
def values_of_prepare(draw: st.DrawFn) -> dict[str, Any]:
    update = {name: draw(LISTS_OF_TEXTS) for name in ("ignore", "categorical", "gaps")}
    target, header = draw(TEXTS.filter(bool)), draw(st.sampled_from(["auto", True, False]))
    return {"target": target, "header": header, **update}


@QUIET
@given(st.data())
def test_what_people_write_is_kept(data: st.DataObject) -> None:
    before, after = data.draw(values_of_prepare()), data.draw(values_of_prepare())
    written = {
        "prepare": {**WRITTEN, **before},
        "train": {**TRAIN, "hidden": data.draw(st.lists(st.integers(1, 512)))},
    }
    for missing in data.draw(st.sets(st.sampled_from(["gaps", "seed", "categorical"]))):
        del written["prepare"][missing]
    parts = {name: f"{name}:\n{data.draw(sections(values))}" for name, values in written.items()}
    first_key = re.search(r"\n( +)\S", parts["train"])
    assert first_key is not None
    parts["train"] += f"{first_key[1]}torchrun: {{nnodes:  1, rdzv_endpoint: ~}}  # kept\n"
    written["train"] |= {"torchrun": {"nnodes": 1, "rdzv_endpoint": None}}
    parts["others"] = OTHERS
    text = "".join(data.draw(st.permutations(list(parts.values()))))
    text = data.draw(st.sampled_from(["", "---\n", "# mine\n"])) + text
    text = data.draw(st.sampled_from([text, text.removesuffix("\n")]))
    assert from_yaml(text) == written | from_yaml(OTHERS)
    FILE.write_text(text)

    training = {
        "hidden": data.draw(st.lists(st.integers(1, 512))),
        "lr": data.draw(st.floats(1e-9, 1)),
        "max_grad_norm": data.draw(st.sampled_from([None, 1.0])),
        "embedding": data.draw(st.sampled_from(["none", "periodic"])),
    }
    decisions = [
        DecidedParam(name, item, data.draw(TEXTS))
        for name in ("ignore", "gaps", "categorical")
        for item in after[name]
    ]
    choice = Choice(PREPARE.model_copy(update=after), decisions)
    result = as_started(choice, training)

    meant = written | {"prepare": choice.params.model_dump(), "train": written["train"] | training}
    assert from_yaml(result) == meant | from_yaml(OTHERS)
    assert yaml.safe_load(result)["prepare"] == meant["prepare"]
    assert OTHERS.removesuffix("\n") in result
    assert result.count("by me") == text.count("by me")
    assert result.count("# above ") == text.count("# above ")
    assert "torchrun: {nnodes:  1, rdzv_endpoint: ~}  # kept" in result
    FILE.write_text(result)
    assert as_started(choice, training) == result
    assert with_params({"train": training}) == result


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("prepare: {target: a, ignore: [b]}\ntrain: {lr: 1}  # c\n", "train: {lr: 1, hidden: [5]}"),
        ('{"prepare":{"target":"a"},"train":{"hidden":[10],"lr":1}}', '"hidden":[5]'),
        (
            "prepare: {}\ntrain:\n  # one\n  lr: 1  # two\n\n  # end\n",
            "lr: 1  # two\n  hidden: [5]",
        ),
        ("train:\n  hidden:\n  # c\nprepare: {}\n", "hidden: [5] # c\nprepare"),
        ("train:\n  hidden: |  # c\n    text\n\n  lr: 1\n", "hidden: [5]\n\n  lr"),
        ("train:\n  hidden: long\n    text   # c\n  lr: 1\n", "hidden: [5] # c\n  lr"),
    ],
)
def test_other_forms(text: str, expected: str) -> None:
    FILE.write_text(text)
    result = with_params({"train": {"hidden": [5]}})
    assert expected in result
    assert from_yaml(result)["train"] == {**from_yaml(text)["train"], "hidden": [5]}


def test_a_text_gets_the_quotes_that_it_lacks() -> None:
    FILE.write_text("train:\n  a: no  # c\n  b: 'yes'\n  c: fine\n")
    result = with_params({"train": {"a": "no", "b": "yes", "c": "fine"}})
    assert result == "train:\n  a: 'no' # c\n  b: 'yes'\n  c: fine\n"


@pytest.mark.parametrize(
    "text",
    [
        "train:\n  hidden: &h [10]\n  seeds: *h\n",
        "seeds: &h [10]\ntrain:\n  hidden: *h\n",
        "train: {}\n",
        "<<: {train: {hidden: [10]}}\n",
        "train: &t\n  hidden: [10]\nagain: *t\n",
        "train:\n  ? [a]\n  : 1\n",
    ],
)
def test_a_form_that_cannot_be_changed_is_refused(text: str) -> None:
    FILE.write_text(text)
    with refused("params.yaml"):
        with_params({"train": {"hidden": [5]}})

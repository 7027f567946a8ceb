"""`start`: what it decides about a table, and what it writes into params.yaml."""

import re
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pandas as pd
import pytest
import yaml

from classifier.io.user_error import UserError
from stages import prepare
from tests.conftest import REPOSITORY, Project
from tests.in_process import prepared, refused, run_start


@pytest.fixture(autouse=True)
def _in_a_folder(folder: Path) -> None:
    (folder / "params.yaml").write_text((REPOSITORY / "params.yaml").read_text())
    people().to_csv("people.csv", index=False)


def people(n: int = 300) -> pd.DataFrame:
    """Return a table with much that `start` has to decide."""
    random = np.random.default_rng(0)
    towns = [f"town {i}" for i in range(70)]
    table = pd.DataFrame(
        {
            "PersonId": random.permutation(10**6)[:n],
            "name": [f"name {i}" for i in range(n)],
            "town": random.choice(towns, n),
            "income": random.normal(3000, 500, n).round(2).astype(str),
            "area": [f"{i % 7:03}" for i in range(n)],
            "joined": [str(pd.Timestamp("2020-01-01") + pd.Timedelta(days=i)) for i in range(n)],
            "works": random.choice(["yes", "no"], n),
        }
    )
    table.loc[::30, "income"] = "refused"
    table.loc[::50, "works"] = None
    return table


def params() -> dict[str, dict[str, object]]:
    found: dict[str, dict[str, object]] = yaml.safe_load(Path("params.yaml").read_text())
    return found


@pytest.mark.parametrize(
    ("n", "arguments", "folds"),
    [
        (2_400, (), 8),
        (2_600, (), 4),
        (6_400, (), 1),
        # Of each of five groups, one tests; of three, too few are left.
        (60, ("--group", "five"), 4),
        (60, ("--group", "three"), 1),
        (60, ("--order-by", "number"), 1),
    ],
)
def test_the_fewer_rows_the_more_folds(
    n: int, arguments: tuple[str, ...], folds: int, capsys: pytest.CaptureFixture[str]
) -> None:
    number = np.arange(n)
    table = pd.DataFrame({"a": np.sin(number), "b": np.cos(7 * number), "number": number % 97 / 9})
    table["five"], table["three"] = [f"g{i % 5}" for i in number], [f"g{i % 3}" for i in number]
    table["y"] = [("no", "yes")[i] for i in (table["a"] > 0).astype(int)]
    table.to_csv("t.csv", index=False)
    run_start("t.csv", "y", "--force", *arguments)
    out = capsys.readouterr().out
    assert params()["prepare"]["folds"] == folds
    assert (f"decided: prepare.folds: {folds} (" in out) == (folds > 1)
    # What it writes can be prepared.
    prepare.main()
    assert sum(prepared("val").fold == folds - 1) > 0


def test_a_group_that_has_a_class_to_itself_is_no_fold() -> None:
    number = np.arange(100)
    table = pd.DataFrame({"a": np.sin(number), "who": [f"person {i % 10}" for i in number]})
    table["y"] = ["odd" if i % 10 == 3 else "yn"[i % 3 % 2] for i in number]
    table.to_csv("t.csv", index=False)
    run_start("t.csv", "y", "--force", "--group", "who")
    # Eight groups do not test, one of which has to train.
    assert params()["prepare"]["folds"] in range(3, 8)
    prepare.main()


def test_what_it_decides(capsys: pytest.CaptureFixture[str]) -> None:
    before = [line.split("#") for line in Path("params.yaml").read_text().splitlines()]
    run_start("people.csv", "works", "--force")
    out = capsys.readouterr().out
    chosen = params()["prepare"]
    assert chosen["data"] == "people.csv"
    assert chosen["target"] == "works"
    assert chosen["ignore"] == ["PersonId", "name"]
    assert chosen["gaps"] == ["refused"]
    assert chosen["categorical"] == ["area"]
    assert chosen["beyond_max_categories"] == "other"
    reading = {name: chosen[name] for name in ("delimiter", "encoding", "decimal", "header")}
    assert reading == {
        "delimiter": "comma",
        "encoding": "utf-8",
        "decimal": "point",
        "header": True,
    }
    (joined,) = (line.split() for line in out.splitlines() if line.startswith("joined"))
    assert joined == ["joined", "datetime", "0", "2020-01-02", "to", "2020-10-26"]
    gap = "decided: prepare.gaps: refused (column 'income' holds numbers, but row 32 is 'refused')"
    assert gap in out
    assert "rows without a target, left out: 6" in out
    assert out.endswith("next: dvc repro\n")
    # Comments are kept, and reasons are beside what is left out.
    after = Path("params.yaml").read_text()
    for _, *comment in before:
        assert "#".join(comment) in after
    lines = [line.split("# ") for line in after.splitlines() if line.startswith("  - ")]
    person, name = (line[1] for line in lines[:2])
    assert person == "is another whole number in every row"
    assert re.fullmatch(
        r"has \d+ different texts in the training rows, such as 'name .*\.\.\.", name
    )
    # What concerns other stages, or is no matter of the table, stays.
    kept = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    assert params()["evaluate"] == kept["evaluate"]
    assert params()["train"]["seed"] == kept["train"]["seed"]
    assert params()["train"]["optimizer"] == "adamw"
    # It is what `prepare` then prints, and what is decided a second time.
    prepare.main()
    assert capsys.readouterr().out.strip() in out
    run_start("people.csv", "works", "--force")
    assert Path("params.yaml").read_text() == after


def test_a_row_number_that_begins_with_0_is_left_out_and_no_category(folder: Path) -> None:
    table = people()
    table["PersonId"] = [f"{i:05}" for i in range(len(table))]
    table.to_csv(folder / "people.csv", index=False)
    run_start("people.csv", "works", "--force")
    assert params()["prepare"]["ignore"] == ["PersonId", "name"]
    assert params()["prepare"]["categorical"] == ["area"]


def test_a_dry_run_writes_nothing_but_a_page_about_the_table(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = Path("params.yaml").read_bytes()
    run_start("people.csv", "works", "--dry-run", "--report", "people.html")
    assert Path("params.yaml").read_bytes() == before
    assert "decided: prepare.ignore: name" in capsys.readouterr().out
    assert {path.name for path in folder.iterdir()} == {"params.yaml", "people.csv", "people.html"}
    page = Path("people.html").read_text()
    assert "people.csv: the first 300 rows" in page
    assert "<script src=" not in page
    assert "<link rel=" not in page


def test_groups_and_times() -> None:
    run_start("people.csv", "works", "--group", "town", "--force")
    assert (params()["prepare"]["split"], params()["prepare"]["group"]) == ("group", "town")
    prepare.main()
    run_start("people.csv", "works", "--order-by", "joined", "--force")
    assert (params()["prepare"]["split"], params()["prepare"]["order_by"]) == ("time", "joined")
    prepare.main()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["people.csv", "Work"], "no column 'Work' (did you mean 'works'?); prepare.target must"),
        (["people.csv", "income"], "'income' is a quantity: it has 300 different values"),
        (["people.csv", "works", "--encoding", "klingon"], "--encoding is 'klingon', but must be"),
        (["people.csv", "works", "--group", "city"], "prepare.group names 'city'"),
        (["people.csv", "works", "--order-by", "odd"], "'odd' holds numbers, but row 5 is 'd'"),
        (
            ["people.csv", "works", "--group", "town", "--order-by", "joined"],
            "order_by is 'joined', so split must be time",
        ),
    ],
)
def test_what_it_cannot_settle(arguments: list[str], expected: str) -> None:
    table = people()
    table["income"] = np.random.default_rng(1).normal(size=300)
    table["odd"] = [str(i) if i % 3 else "abcde"[i % 5] for i in range(300)]
    table.to_csv("people.csv", index=False)
    before = Path("params.yaml").read_bytes()
    with refused(expected):
        run_start(*arguments, "--force")
    assert Path("params.yaml").read_bytes() == before


def test_what_is_no_category_either_is_left_out() -> None:
    x, z = np.random.default_rng(5).normal(size=(2, 120))
    table = pd.DataFrame({"x": x.round(3), "z": z.round(2), "y": np.arange(120) % 2})
    table.to_csv("t.csv", index=False)
    with refused("t.csv has no features left: 'x', 'z': prepare.ignore names it; 'y': it is prep"):
        run_start("t.csv", "y", "--decimal", "comma", "--force")


def test_why_too_few_rows_differ_in_the_columns_that_are_left() -> None:
    n = np.arange(120)
    table = pd.DataFrame({"ticket": [f"T-{i:04}" for i in n], "y": n % 2})
    table["note"] = ["late" if i == 7 else None for i in n]
    table.to_csv("t.csv", index=False)
    with refused(
        "fewer than two classes have 3 different rows, in the columns that are used; add rows, or "
        "use more columns; left out: 'ticket': has 72 different texts in the training rows"
    ):
        run_start("t.csv", "y", "--force")


def test_dvc_brings_a_table_that_has_an_address(fresh_clone: Project, tmp_path: Path) -> None:
    (tmp_path / "my table.csv").write_text(people().to_csv(index=False))
    handler = partial(SimpleHTTPRequestHandler, directory=tmp_path)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever).start()
        try:
            address = f"http://127.0.0.1:{server.server_port}"
            start = (sys.executable, "-m", "commands.start")
            missing = fresh_clone.run(*start, f"{address}/none.csv", "works", status=1)
            fresh_clone.run(*start, f"{address}/my%20table.csv?x=1", "works")
        finally:
            server.shutdown()
    assert missing.stderr.startswith(
        f"start: error: dvc import-url cannot bring {address}/none.csv"
    )
    assert missing.stderr.count("\n") == 1
    assert "data: data/my table.csv" in (fresh_clone.path / "params.yaml").read_text()
    assert f"{address}/my%20table.csv" in (fresh_clone.path / "data/my table.csv.dvc").read_text()
    assert fresh_clone.contents("data/none*") == {}
    again = fresh_clone.run(*start, f"{address}/my%20table.csv", "works", "--force", status=1)
    assert again.stderr.startswith("start: error: data/my table.csv is there already; name it inst")


def test_it_writes_over_no_uncommitted_changes(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.path)
    start = ["data/wine.csv", "target"]
    file = project.path / "params.yaml"
    file.write_text(file.read_text() + "# mine\n")
    before = file.read_text()
    with refused(
        "params.yaml has changes that are not committed; commit them, undo them with git checkout "
        "params.yaml, or write over them with --force"
    ):
        run_start(*start)
    run_start(*start, "--dry-run")
    assert file.read_text() == before
    run_start(*start, "--force")
    project.commit("another table")
    run_start(*start)
    assert "suspicions" in project.dvc("metrics", "show", "reports/table.json", "--json")


def test_without_git_it_needs_to_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with refused("git cannot tell whether params.yaml has changes; to write over it, add --force"):
        run_start("people.csv", "works")


def test_it_says_what_of_other_sections_does_not_suit_the_table(
    capsys: pytest.CaptureFixture[str],
) -> None:
    run_start("people.csv", "works", "--force")
    assert "before dvc repro" not in capsys.readouterr().out
    for section, key, value, expected in [
        ("evaluate", "slices", ["sex"], "evaluate.slices names 'sex', which people.csv lacks"),
        ("evaluate", "positive_class", "maybe", "evaluate.positive_class is 'maybe', but must be"),
        ("plot", "dpi", 1, "plot.dpi is 1, but must be a whole number from 50 to 600"),
    ]:
        before = Path("params.yaml").read_text()
        changed = params()
        changed[section][key] = value
        Path("params.yaml").write_text(yaml.safe_dump(changed))
        run_start("people.csv", "works", "--force")
        (line,) = (one for one in capsys.readouterr().out.splitlines() if "before dvc repro" in one)
        assert line.startswith(f"to be put right before dvc repro: params.yaml: {expected}")
        assert params() == changed
        with pytest.raises(UserError) as error:
            prepare.main()
        assert line.endswith(str(error.value))
        Path("params.yaml").write_text(before)


def test_what_two_columns_need_alike_is_set_once() -> None:
    number = np.arange(60)
    table = pd.DataFrame({"a": number % 37, "b": number % 41}, dtype=object)
    table.loc[3, "a"] = table.loc[5, "b"] = "bad"
    table.assign(y=np.tile(["no", "yes"], 30)).to_csv("t.csv", index=False)
    run_start("t.csv", "y", "--force")
    assert params()["prepare"]["gaps"] == ["bad"]


def test_columns_of_lists_are_left_out_and_are_no_target() -> None:
    number = np.arange(60)
    table = pd.DataFrame({"x": number / 7, "list": [[i, None] for i in number], "y": number % 2})
    table["record"] = [{"a": i} for i in number]
    table.to_parquet("t.parquet")
    run_start("t.parquet", "y", "--force")
    assert params()["prepare"]["ignore"] == ["list", "record"]
    prepare.main()
    with pytest.raises(UserError, match=r"'list' holds values of the type .* must hold text"):
        run_start("t.parquet", "list", "--force")

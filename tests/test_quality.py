"""How the quality benchmark counts, and that it goes on where it was interrupted."""

from pathlib import Path

import pandas as pd
import pytest

from benchmarks.quality import results
from benchmarks.quality.report import both, comparison, mean_ranks, normalised_differences
from benchmarks.quality.results import Result, append, forget, read_results

# Table a is three times as hard as b: ours is better on it by a tenth of that, and worse on b.
RESULTS = [
    Result("a", 0, "ours", 0.5, 0.8, 1.0, 1.5),
    Result("a", 1, "ours", 0.7, 0.7, 1.0, 1.5),
    Result("b", 0, "ours", 0.3, 0.9, 3.0, 0.5),
    Result("a", 0, "LightGBM", 0.65, 0.7, 2.0, 1.5),
    Result("a", 1, "LightGBM", 0.85, 0.7, 2.0, 1.5),
    Result("b", 0, "LightGBM", 0.2, 0.95, 2.0, 0.5),
    # On the first split alone.
    Result("a", 0, "TabM-D", 0.4, 0.9, 60.0, 1.5),
    Result("b", 0, "TabM-D", 0.25, 0.6, 40.0, 0.5),
]


def test_differences_are_normalised_and_tables_count_the_same() -> None:
    frame = pd.DataFrame(RESULTS)
    theirs, ours = both(frame, "LightGBM")
    differences = normalised_differences(theirs, ours)
    assert differences.to_dict() == pytest.approx({"a": -0.1, "b": 0.2})
    _, lightgbm, tabm, _ = comparison(frame, ["LightGBM", "TabM-D"])
    assert lightgbm[:5] == ["LightGBM", "+0.050 (-0.100 to +0.200)", "b +0.200", "0.8250", "0.8250"]
    # What one of both has not run does not count for the other.
    assert tabm[1].startswith("+0.083")
    assert tabm[3:5] == ["0.7500", "0.8500"]
    assert tabm[6:] == ["50.0", "2.0"]


def test_ranks_are_of_the_runs_that_all_made() -> None:
    assert mean_ranks(pd.DataFrame(RESULTS)).to_dict() == {
        "TabM-D": 1.5,
        "LightGBM": 2,
        "ours": 2.5,
    }


def test_what_was_measured_stays_until_it_is_to_be_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "RESULTS", tmp_path / "results.csv")
    assert read_results() == []
    for one in RESULTS:
        append(one)
    assert read_results() == RESULTS
    forget(["LightGBM"])
    assert read_results() == [one for one in RESULTS if one.contender != "LightGBM"]
    forget([])
    assert len(read_results()) == 5

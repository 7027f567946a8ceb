"""Say how sure the differences between experiments are; no stage, but a command to run by hand.

Experiments that differ in nothing but seeds form a group. Groups are compared on the splits that
they share. Repeated splits of one table have rows in common, so their results are not
independent and Student's interval for a mean would be far too narrow: difference.py corrects it.

`python -m stages.repeats` reads the experiments of the current commit; what follows on the
command line goes to `dvc exp show`, for example `--all-commits`.
"""

import hashlib
import json
import math
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import fmean, stdev
from typing import Any, Literal

from stages.parts.reporting.difference import judge
from stages.parts.user_error import UserError, user_errors_in_one_line

CONFIDENCE = 0.95
SEEDS = ("prepare.seed", "train.seed")
WHAT_IS_SPLIT = ("prepare.data", "prepare.target", "prepare.test_size", "prepare.val_size")

Score = Literal["accuracy", "log_loss"]
SCORES: tuple[Score, ...] = ("accuracy", "log_loss")


@dataclass(frozen=True)
class Result:
    split_seed: int
    training_seed: int
    accuracy: float
    log_loss: float


@dataclass
class Group:
    """Experiments that differ in nothing but seeds."""

    settings: dict[str, str]
    """Every parameter but the seeds, such as `train.lr`, as JSON; and a hash of code and data."""
    results: set[Result] = field(default_factory=set)
    """A set: a run that was repeated with its own seeds has the same result."""

    @property
    def splits(self) -> set[int]:
        return {result.split_seed for result in self.results}

    def values(self, score: Score) -> list[float]:
        return [getattr(result, score) for result in self.results]

    def by_split(self, score: Score) -> dict[int, float]:
        """Return the mean over the training seeds for each split seed."""
        return {
            seed: fmean(getattr(run, score) for run in self.results if run.split_seed == seed)
            for seed in self.splits
        }

    @property
    def test_to_train(self) -> float:
        """Test rows for each training row."""
        test, val = (float(self.settings[f"prepare.{name}_size"]) for name in ("test", "val"))
        return test / (1 - test - val)


def main() -> None:
    command = [sys.executable, "-m", "dvc", "exp", "show", "--json", *sys.argv[1:]]
    shown = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 (no shell)
    if shown.returncode != 0:
        raise UserError(f"dvc exp show failed: {shown.stderr}")
    groups = group_experiments(json.loads(shown.stdout))
    if not groups:
        raise UserError("there are no finished experiments; start some with dvc exp run")
    print("\n".join(report(groups)))


def group_experiments(shown: Any) -> list[Group]:  # noqa: ANN401 (JSON)
    """Group what `dvc exp show --json` shows, the highest mean accuracy first."""
    groups: dict[str, Group] = {}
    for commit in shown:
        for experiment in commit["experiments"] or []:
            executor, data = experiment["executor"], experiment["revs"][0]["data"]
            # Until it has ended well, DVC shows for it the metrics of the commit it started from.
            if data is None or (executor is not None and executor["state"] != "success"):
                continue
            params, metrics = data["params"]["params.yaml"]["data"], data["metrics"]["metrics.json"]
            settings = {
                f"{section}.{key}": json.dumps(value)
                for section, values in params.items()
                for key, value in values.items()
            }
            split_seed, training_seed = (int(settings.pop(seed)) for seed in SEEDS)
            settings["code and data"] = hash_of_sources(data["deps"], params["prepare"]["data"])
            scores = [metrics["data"][score] for score in SCORES]
            group = groups.setdefault(json.dumps(settings, sort_keys=True), Group(settings))
            group.results.add(Result(split_seed, training_seed, *scores))
    return sorted(groups.values(), key=lambda group: -fmean(group.values("accuracy")))


def hash_of_sources(deps: dict[str, dict[str, Any]], table: str) -> str:
    """Hash the stages' dependencies that no stage makes."""
    sources = sorted(path for path in deps if path.startswith("stages/") or path == table)
    hashes = json.dumps([(path, deps[path]["hash"]) for path in sources])
    return hashlib.sha256(hashes.encode()).hexdigest()[:7]


def report(groups: list[Group]) -> Iterator[str]:
    """Yield a line for each group, then the comparisons of the first with the others."""
    names = [name for name in groups[0].settings if len({g.settings.get(name) for g in groups}) > 1]
    yield "mean ± standard deviation over the runs of each group:"
    for number, group in enumerate(groups, start=1):
        what = ", ".join(f"{name}={group.settings.get(name)}" for name in names)
        scores = ", ".join(f"{score} {in_short(group.values(score))}" for score in SCORES)
        count = f"runs {len(group.results)}, splits {len(group.splits)}"
        yield f"{number}. {what or 'all'} ({count}): {scores}"
    yield from compare_with_the_best(groups)


def in_short(values: list[float]) -> str:
    return f"{fmean(values):.4f} ± " + (f"{stdev(values):.4f}" if len(values) > 1 else "?")


def compare_with_the_best(groups: list[Group]) -> Iterator[str]:
    """Compare the first group that was repeated with each other one, on the splits they share."""
    repeated = [(number, g) for number, g in enumerate(groups, start=1) if len(g.splits) > 1]
    if len(repeated) < 2:
        yield "nothing to compare: that takes two groups with several splits (prepare.seed) each"
        return
    # Bonferroni's correction, for all pairs: which of them is looked at is chosen by the results.
    confidence = 1 - (1 - CONFIDENCE) / math.comb(len(repeated), 2)
    (best_number, best), *others = repeated
    for number, other in others:
        shared = sorted(best.splits & other.splits)
        same_rows = all(best.settings[name] == other.settings[name] for name in WHAT_IS_SPLIT)
        if not same_rows or len(shared) < 2:
            yield f"{best_number} against {number}: not compared, they share no two splits"
            continue
        yield f"{best_number} against {number}, on the {len(shared)} splits they share:"
        for score in SCORES:
            ours, theirs = best.by_split(score), other.by_split(score)
            differences = [ours[seed] - theirs[seed] for seed in shared]
            yield f"  {score} {judge(differences, best.test_to_train, confidence)}"
    yield (
        f"for each score, all intervals together hold with {CONFIDENCE:.0%} confidence; they allow "
        "for the rows that splits of one table have in common (Nadeau and Bengio 2003)"
    )


if __name__ == "__main__":
    with user_errors_in_one_line("repeats"):
        main()

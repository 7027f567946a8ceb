"""Model files and saved states, damaged in many ways: none crashes, hangs or lies."""

import random
from pathlib import Path

from tests.mutations import Worker, is_wrong, mutants, train_in


def test_each_is_refused_or_says_the_same(tmp_path: Path) -> None:
    files = train_in(tmp_path)
    worker = Worker(tmp_path)
    for is_forged in (False, True):
        for mutant in mutants(files, 60, random.Random(1), is_forged=is_forged):
            outcome = worker.open(mutant)
            assert not is_wrong(mutant, outcome), (mutant, outcome)

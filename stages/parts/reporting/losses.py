"""losses.csv: a row for each evaluation, there to be watched while training runs."""

import csv
import os
from collections.abc import Iterable
from dataclasses import astuple, fields
from pathlib import Path
from types import TracebackType
from typing import Self

from stages.parts.training.loop import Evaluation


class LossesFile:
    """The open file, each row flushed as it comes; removed when training fails."""

    def __init__(self, path: Path, history: Iterable[Evaluation]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._file = path.open("w", encoding="utf-8", newline="")
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._writer.writerow([field.name for field in fields(Evaluation)])
        for evaluation in history:
            self.append(evaluation)

    def append(self, evaluation: Evaluation) -> None:
        self._writer.writerow(astuple(evaluation))
        self._file.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        os.fsync(self._file.fileno())
        self._file.close()
        if exc_type is not None:
            self._path.unlink(missing_ok=True)

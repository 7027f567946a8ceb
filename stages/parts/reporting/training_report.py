"""How a training run went: reports/training.json."""

from pathlib import Path
from typing import Literal

from stages.parts.atomic_write import atomic_write
from stages.parts.reporting.diagnosis import Diagnosis


class TrainingReport(Diagnosis):
    """What `train` leaves for `dvc metrics show` and for `plot`: the verdict, and on what."""

    best_epoch: int
    best_val_loss: float
    train_loss_at_best_epoch: float
    epochs_run: int
    stop_reason: Literal["early_stopping", "max_epochs"]
    threads: int


def write_training_report(path: Path, report: TrainingReport) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(report.model_dump_json(indent=2) + "\n", encoding="utf-8")


def read_training_report(path: Path) -> TrainingReport:
    return TrainingReport.model_validate_json(path.read_bytes())

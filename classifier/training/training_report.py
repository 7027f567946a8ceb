"""What a training run has come to: reports/training.json."""

from collections.abc import Sequence

import numpy as np

from classifier.training.losses_file import mean_evaluations
from classifier.training.run import Run, best_val_loss_of
from classifier.training.step import class_counts, class_weights
from classifier.training.train_params import TrainParams
from classifier.verdict import NetworksReport, TrainingReport, baseline_loss, diagnose


def training_report_of(runs: Sequence[Run], params: TrainParams, threads: int) -> TrainingReport:
    """Sum up runs that are over; all ranks have to call this."""
    history = mean_evaluations(runs)
    train_losses = [evaluation.train_loss for evaluation in history]
    val_losses = [evaluation.val_loss for evaluation in history]
    stop_reasons = [run.stop_reason(params) for run in runs]
    best_epochs = [run.early_stopping.best_epoch for run in runs]
    networks = None
    if len(runs) == 1:
        best = [evaluation.epoch for evaluation in history].index(best_epochs[0])
    else:
        best = int(np.argmin(val_losses))
        networks = NetworksReport(
            best_epochs=best_epochs,
            epochs_of_networks=[run.epoch for run in runs],
            n_stopped_early=stop_reasons.count("early_stopping"),
            out_of_fold_loss=best_val_loss_of(runs),
        )
    # Of several networks, these are all rows that train some of them.
    target, n_classes = runs[0].fold.train.target, runs[0].model.n_classes
    weight = class_weights(params.class_weights, target, n_classes)
    val_counts = [class_counts(run.fold.val.classes, n_classes) for run in runs]
    baseline = baseline_loss(
        class_counts(target, n_classes),
        np.sum(val_counts, axis=0).tolist(),
        None if weight is None else weight.tolist(),
    )
    diagnosis = diagnose(
        train_losses,
        val_losses,
        best,
        sum(run.n_val for run in runs),
        baseline,
        kept=None if networks is None else networks.out_of_fold_loss,
    )
    return TrainingReport(
        **diagnosis.model_dump(),
        best_epoch=history[best].epoch,
        best_val_loss=val_losses[best],
        train_loss_at_best_epoch=train_losses[best],
        epochs_run=max(run.epoch for run in runs),
        stop_reason="max_epochs" if "max_epochs" in stop_reasons else "early_stopping",
        threads=threads,
        temperature=1.0,
        networks=networks,
    )

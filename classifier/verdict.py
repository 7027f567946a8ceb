"""What the losses of a training run say about it: the verdict, its rules, and it in words.

Losses are mean cross-entropies in nats. "The best" is the evaluation whose weights are kept.
The rules are tried in this order, and the first that holds is the verdict:

- `overfitting`: the validation loss rose after its best, and the training loss ended lower.
- `not_learning`: the best is not clearly better than predicting the class frequencies.
- `unstable`: the validation loss rose after its best, and the training loss ended no lower.
- `still_improving`: the validation loss was falling up to the end.
- `converged`: none of these.
"""

import math
from collections.abc import Sequence
from statistics import median
from typing import Literal

import numpy as np
from pydantic import BaseModel, Field

Verdict = Literal["overfitting", "not_learning", "unstable", "still_improving", "converged"]

NOTICEABLE = 0.01
"""A rise below this fraction of the baseline loss counts as none.

The baseline is the loss of knowing nothing but the class frequencies, about where curves start;
a hundredth of it can hardly be seen on a chart.
"""

NOISE_STEPS = 10
"""A rise up to so many noise steps counts as none.

The noise step is the mean, over all steps from one evaluation to the next, of what goes against
the trend: up before the best, down after it. A smooth curve has none. For a curve that only
fluctuates, with standard deviation s, it is about 0.56 s; the lowest of a hundred evaluations
then lies about 2.5 s below their mean, and the last ones can lie as far above it.
"""

WORTH_GOING_ON = 0.01
"""The fall over the last tenth of a run, as a fraction of the loss, that makes it unfinished.

At this rate, a run as long again would lower the loss by a tenth at most.
"""

CLEARLY_LIKELIER = 20
"""How many times likelier the model has to make the validation rows than the baseline does.

If class frequencies were all there is to know, a given model would get there by luck with a
probability of at most 1/20: the expected likelihood ratio is then 1 (Markov's inequality).
"""


class Diagnosis(BaseModel):
    """The verdict on a run and the figures behind it."""

    verdict: Verdict
    generalisation_gap_at_best: float
    """`val_loss - train_loss` of the best evaluation."""
    generalisation_gap_at_end: float
    """`val_loss - train_loss` of the last evaluation."""
    val_loss_rise: float
    """`val_loss` of the last evaluation minus that of the best.

    Below 0 where `min_delta` had early stopping overlook a lower one.
    """
    baseline_loss: float
    """The validation loss of predicting the class frequencies of the training rows."""
    n_evaluations: int


class NetworksReport(BaseModel):
    """Where each of several networks ended."""

    best_epochs: list[int]
    """Those whose weights are kept."""
    epochs_of_networks: list[int]
    n_stopped_early: int
    out_of_fold_loss: float
    """The mean loss of all rows that some network leaves out, by its best weights."""


class TrainingReport(Diagnosis):
    """reports/training.json: what `train` leaves for `dvc metrics show` and for `plot`."""

    best_epoch: int
    best_val_loss: float
    train_loss_at_best_epoch: float
    epochs_run: int
    stop_reason: Literal["early_stopping", "max_epochs"]
    threads: int
    temperature: float
    """The number by which the logits of the best weights are divided; 1 is not at all."""
    networks: NetworksReport | None = Field(None, exclude_if=lambda value: value is None)
    """Of several networks; all else is of their means, where those that have stopped stay."""


def diagnose(
    train_losses: Sequence[float],
    val_losses: Sequence[float],
    best: int,
    n_val: int,
    baseline: float,
    *,
    kept: float | None = None,
) -> Diagnosis:
    """Judge a run by its losses, one of each kind per evaluation.

    `best` is the index of the evaluation whose weights are kept, `n_val` the number of validation
    rows, and `baseline` what `baseline_loss` returns. Of several networks, the losses are means,
    and `kept` is that of the weights kept, each of its own best evaluation.
    """
    rose = has_risen(val_losses, best, baseline)
    verdict: Verdict
    if rose and train_losses[-1] < train_losses[best]:
        verdict = "overfitting"
    elif not is_clearly_better(val_losses[best] if kept is None else kept, n_val, baseline):
        verdict = "not_learning"
    elif rose:
        verdict = "unstable"
    elif is_still_falling(val_losses, baseline):
        verdict = "still_improving"
    else:
        verdict = "converged"
    return Diagnosis(
        verdict=verdict,
        generalisation_gap_at_best=val_losses[best] - train_losses[best],
        generalisation_gap_at_end=val_losses[-1] - train_losses[-1],
        val_loss_rise=val_losses[-1] - val_losses[best],
        baseline_loss=baseline,
        n_evaluations=len(val_losses),
    )


def has_risen(val_losses: Sequence[float], best: int, baseline: float) -> bool:
    """Say whether the loss rose after its best, by an amount that is no accident.

    The rise is the smaller of two: that of the last evaluation, and that of the median of the
    last third of those after the best, so that one bad evaluation at the end is not enough. It
    has to exceed `NOTICEABLE` and `NOISE_STEPS`.
    """
    after = val_losses[best + 1 :]
    if not after:
        return False
    last_third = after[2 * len(after) // 3 :]
    rise = min(after[-1], median(last_third)) - val_losses[best]
    # Against the trend is up before the best, and down after it.
    steps = np.diff(val_losses)
    steps[best:] *= -1
    noise_step = np.maximum(steps, 0).mean()
    return bool(rise > max(NOTICEABLE * baseline, NOISE_STEPS * noise_step))


def is_clearly_better(val_loss: float, n_val: int, baseline: float) -> bool:
    """Say whether the loss is so far below the baseline that luck hardly explains it.

    `n_val * val_loss` is the negative log-likelihood of the validation rows, so the comparison
    is one of likelihoods: the more rows, the smaller a difference is enough.
    """
    return n_val * (baseline - val_loss) > math.log(CLEARLY_LIKELIER)


def is_still_falling(val_losses: Sequence[float], baseline: float) -> bool:
    """Say whether going on would have lowered the loss further.

    So it is if the lowest loss lies in the last tenth of the evaluations, and the median of that
    tenth lies below that of the tenth before by more than `WORTH_GOING_ON`; or if there is no
    tenth before. A loss that is next to nothing has no further to fall.
    """
    lowest = min(val_losses)
    if lowest <= NOTICEABLE * baseline:
        return False
    if len(val_losses) == 1:
        return True
    tenth = max(1, len(val_losses) // 10)
    last, before = val_losses[-tenth:], val_losses[-2 * tenth : -tenth]
    fall = median(before) - median(last)
    return lowest < min(val_losses[:-tenth]) and fall > WORTH_GOING_ON * median(last)


def baseline_loss(
    train_counts: Sequence[float],
    val_counts: Sequence[float],
    class_weights: Sequence[float] | None = None,
) -> float:
    """Return the validation loss of predicting the class frequencies of the training rows.

    The lowest loss to be had without a look at the features: that of scikit-learn's
    `DummyClassifier(strategy="prior")`. Where the loss weights its rows by class, so are the
    frequencies and the mean. As in scikit-learn's `log_loss`, a probability of 0 counts as the
    smallest positive difference of doubles near 1.

    The counts are the rows of each class, and the weights what a row of each counts for in the
    loss, all of shape (n_classes,).
    """
    weights = np.ones(len(train_counts)) if class_weights is None else np.array(class_weights)
    frequencies = np.array(train_counts) * weights
    log_frequencies = np.log(np.maximum(frequencies / frequencies.sum(), np.finfo(np.float64).eps))
    return float(-np.average(log_frequencies, weights=np.array(val_counts) * weights))


def why_it_stopped(report: TrainingReport, patience: int) -> str:
    """Say in one sentence why training stopped, at which epoch, and which epoch was best."""
    if report.networks is not None:
        best, ends = report.networks.best_epochs, report.networks.epochs_of_networks
        return (
            f"{len(ends)} networks stopped at epochs {min(ends)} to {max(ends)}, "
            f"{report.networks.n_stopped_early} of them because {patience} evaluations brought no "
            f"improvement; the best of each were epochs {min(best)} to {max(best)}, with val_loss "
            f"{report.networks.out_of_fold_loss:.4f} on the rows that they left out"
        )
    why = (
        f"{patience} evaluations brought no improvement"
        if report.stop_reason == "early_stopping"
        else "that is max_epochs"
    )
    return (
        f"stopped at epoch {report.epochs_run} because {why}; "
        f"best was epoch {report.best_epoch} with val_loss {report.best_val_loss:.4f}"
    )


def what_happened(report: TrainingReport) -> str:
    """Say in one sentence what the losses show."""
    best = f"{report.best_val_loss:#.4g}"
    kept, loss = best, "validation loss"
    if report.networks is not None:
        kept, loss = f"{report.networks.out_of_fold_loss:#.4g}", "mean validation loss"
    rise = f"from {best} to {report.best_val_loss + report.val_loss_rise:#.4g}"
    train_loss_at_end = (
        report.best_val_loss + report.val_loss_rise - report.generalisation_gap_at_end
    )
    train_change = f"from {report.train_loss_at_best_epoch:#.4g} to {train_loss_at_end:#.4g}"
    match report.verdict:
        case "overfitting":
            return (
                f"Overfitting: after epoch {report.best_epoch} the {loss} rose {rise}, "
                f"while the training loss fell {train_change}."
            )
        case "not_learning":
            return (
                f"Not learning: the best {loss}, {kept}, is not clearly below the "
                f"{report.baseline_loss:#.4g} of predicting the class frequencies for every row."
            )
        case "unstable":
            return (
                f"Unstable: after epoch {report.best_epoch} the {loss} rose {rise}, and "
                f"the training loss did not fall: {train_change}."
            )
        case "still_improving" if report.n_evaluations == 1:
            return f"Too early to tell: there is one evaluation, with {loss} {best}."
        case "still_improving":
            return (
                f"Still improving: the {loss} was falling up to the end, epoch {report.epochs_run}."
            )
        case "converged":
            return (
                f"Converged: the {loss} came down to {best} at epoch "
                f"{report.best_epoch}; more epochs lower it by little or nothing."
            )


def _weights_kept(report: TrainingReport) -> str:
    if report.networks is not None:
        return "The weights kept are those of each network's own best epoch."
    return f"The weights kept are those of epoch {report.best_epoch}, from before the rise."


def what_to_do(report: TrainingReport) -> str:
    """Say what to do next, naming the parameters to change."""
    match report.verdict:
        case "overfitting" if report.best_val_loss >= report.baseline_loss:
            advice = (
                f"Even the best is no better than the {report.baseline_loss:#.4g} of predicting "
                "the class frequencies: what it learnt holds for the training rows alone. "
                "Get more rows, or features that say more about the target."
            )
        case "overfitting":
            advice = (
                f"{_weights_kept(report)} "
                "For a lower validation loss try more rows, a smaller train.hidden, a higher "
                "train.dropout or a higher train.weight_decay."
            )
        case "not_learning" if report.best_epoch == report.epochs_run:
            advice = "It was lowest at the end: raise train.lr or train.max_epochs."
        case "not_learning":
            advice = (
                "Try another train.lr, or another prepare.scaler; if nothing helps, the features "
                "may say nothing about the target."
            )
        case "unstable":
            advice = (
                f"{_weights_kept(report)} Lower train.lr, train.momentum or train.max_grad_norm."
            )
        case "still_improving" if report.n_evaluations == 1:
            advice = "Lower train.eval_every or raise train.max_epochs to see where it is going."
        case "still_improving" if report.stop_reason == "early_stopping":
            advice = "It was stopped too early: raise train.patience or lower train.min_delta."
        case "still_improving":
            advice = "Raise train.max_epochs; training goes on from here."
        case "converged":
            advice = (
                "For a lower one change the network (train.hidden, train.members, "
                "train.embedding) or get more rows."
            )
    return advice

"""The verdict on a training run in plain words."""

from classifier.verdict.diagnosis import TrainingReport


def why_it_stopped(report: TrainingReport, patience: int) -> str:
    """Say in one sentence why training stopped, at which epoch, and which epoch was best."""
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
    rise = f"from {best} to {report.best_val_loss + report.val_loss_rise:#.4g}"
    train_loss_at_end = (
        report.best_val_loss + report.val_loss_rise - report.generalisation_gap_at_end
    )
    train_change = f"from {report.train_loss_at_best_epoch:#.4g} to {train_loss_at_end:#.4g}"
    match report.verdict:
        case "overfitting":
            return (
                f"Overfitting: after epoch {report.best_epoch} the validation loss rose {rise}, "
                f"while the training loss fell {train_change}."
            )
        case "not_learning":
            return (
                f"Not learning: the best validation loss, {best}, is not clearly below the "
                f"{report.baseline_loss:#.4g} of predicting the class frequencies for every row."
            )
        case "unstable":
            return (
                f"Unstable: after epoch {report.best_epoch} the validation loss rose {rise}, and "
                f"the training loss did not fall: {train_change}."
            )
        case "still_improving" if report.n_evaluations == 1:
            return f"Too early to tell: there is one evaluation, with validation loss {best}."
        case "still_improving":
            return (
                f"Still improving: the validation loss was falling up to the end, "
                f"epoch {report.epochs_run}."
            )
        case "converged":
            return (
                f"Converged: the validation loss came down to {best} at epoch "
                f"{report.best_epoch}; more epochs lower it by little or nothing."
            )


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
                f"The weights kept are those of epoch {report.best_epoch}, from before the rise. "
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
                f"The weights kept are those of epoch {report.best_epoch}, from before the rise. "
                "Lower train.lr, train.momentum or train.max_grad_norm."
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

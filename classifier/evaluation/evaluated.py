"""What metrics.json and reports/baseline.json hold."""

from pydantic import BaseModel, Field, RootModel

from classifier.io.later_params import BaselineName


class Interval(BaseModel):
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.low:.3f} to {self.high:.3f}"


class Scores(BaseModel):
    """A model's metrics: null where the rows say nothing of one, as `undefined` explains."""

    accuracy: float
    """The share of rows that are right; 0 to 1."""
    balanced_accuracy: float | None
    """The mean recall of the classes: each counts the same, however rare; 0 to 1."""
    macro_f1: float
    """The mean F1 of the classes that occur among the actual or the predicted ones; 0 to 1."""
    matthews_correlation: float
    """How actual and predicted classes go together: 1 is perfect, 0 is chance, or a constant.

    Matthews, B. W. (1975), Biochimica et Biophysica Acta 405, 442-451; of many classes, Gorodkin,
    J. (2004), Computational Biology and Chemistry 28, 367-374.
    """
    log_loss: float
    """The mean of -log of the actual class's probability, in nats; 0 is perfect."""
    brier_score: float
    """The mean squared error of the probabilities: 0 is perfect.

    Of two classes it is that of the positive one, 1 at worst; of more, summed over the classes, 2
    at worst. Brier, G. W. (1950), Monthly Weather Review 78, 1-3.
    """
    roc_auc: float | None
    """The probability that a row of a class is ranked above a row of none; 0.5 is chance.

    Of two classes it is that of the positive one; of more, the mean of each against the rest.
    """
    average_precision: float | None
    """The mean precision at the rows of a class, from the highest ranked on; 0 to 1.

    Chance is the class's share of the rows. Of two classes it is that of the positive one; of
    more, the mean of each against the rest.
    """
    expected_calibration_error: float
    """How far, on average, the confidence is from how often it is right; 0 is perfect."""
    classwise_calibration_error: float
    """How far a class's probability is from how often a row is of it; 0 is perfect.

    Of two classes it is that of the positive one; of more, their mean.
    """


class ClassMetrics(BaseModel):
    """The metrics of one class.

    All but the last two are null where no test row is of the class, but `precision` is not if one
    is taken for it; `roc_auc` is null where all are of the class, too.
    """

    precision: float | None
    recall: float | None
    f1: float | None
    roc_auc: float | None
    average_precision: float | None
    calibration_error: float
    n_test: int


class ScoresWithIntervals(Scores):
    """The same, each with how sure it is.

    Intervals are bootstrap ones over the rows, but accuracy's. They are null where the metric is,
    and where there is one row.
    """

    accuracy_interval: Interval
    """Wilson's."""
    balanced_accuracy_interval: Interval | None = None
    macro_f1_interval: Interval | None = None
    matthews_correlation_interval: Interval | None = None
    log_loss_interval: Interval | None = None
    brier_score_interval: Interval | None = None
    roc_auc_interval: Interval | None = None
    average_precision_interval: Interval | None = None
    majority_class_accuracy: float
    """The accuracy of always answering the commonest class of the training rows."""
    undefined: dict[str, str]
    """The reason for which a metric is null, by its name."""


class Metrics(ScoresWithIntervals):
    """The metrics of the network alone, on the test rows."""

    n_test: int
    classes: dict[str, ClassMetrics]


class Comparison(Scores):
    """A baseline on the test rows, and the network's number less the baseline's.

    Below 0, the difference of log losses speaks for the network, that of accuracies against it.
    The intervals are bootstrap ones over the test rows, each with both models' answers to it: what
    makes a row hard for both of them does not widen them.
    """

    threshold: float | None
    """The threshold of the baseline, chosen as the network's is."""
    accuracy_difference: float
    accuracy_difference_interval: Interval | None = None
    accuracy_p_value: float
    """McNemar's exact test: were both as good, how likely would a difference as large be?

    McNemar, Q. (1947), Psychometrika 12, 153-157.
    """
    log_loss_difference: float
    log_loss_difference_interval: Interval | None = None


class SliceMetrics(BaseModel):
    """The metrics of the test rows of a group."""

    n_test: int
    accuracy: float
    accuracy_interval: Interval
    """Wilson's."""
    log_loss: float
    log_loss_interval: Interval | None
    """Bootstrap over the group's rows; null if that is one."""


class Uncalibrated(BaseModel):
    """The metrics of the same network without its temperature."""

    expected_calibration_error: float
    log_loss: float


class OutOfFold(ScoresWithIntervals):
    """The metrics on the left-out rows, each by the one network that was not trained on it."""

    n_left_out: int
    n_networks: int


class Evaluated(Metrics):
    """The network, and what it is compared with."""

    positive_class: str | None
    """The class of two that the threshold and the ranking metrics are of."""
    threshold: float | None
    """The probability from which on a row is taken for it."""
    temperature: float
    """The number by which the logits are divided; 1 with `train.calibration: none`."""
    uncalibrated: Uncalibrated | None
    """Null with `train.calibration: none`."""
    baselines: dict[str, Comparison]
    slices: dict[str, dict[str, SliceMetrics]]
    """The metrics of groups of rows, by column and group."""
    out_of_fold: OutOfFold | None = Field(None, exclude_if=lambda found: found is None)
    """Absent with one fold, whose left-out rows are the validation rows."""


class BaselineReport(BaseModel):
    """How a model was fitted."""

    chosen: str
    """What the validation rows have chosen."""
    val_log_loss: float
    """The log loss on the validation rows, in nats; they are weighted as in training."""
    n_train: int
    """Rows that it was fitted to."""


class LeftOut(BaseModel):
    """A sentence that says why a model is no baseline."""

    left_out: str


class BaselineReports(RootModel[dict[BaselineName, BaselineReport | LeftOut]]):
    """What reports/baseline.json holds."""

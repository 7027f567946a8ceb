"""What `start` writes into the section `train` of params.yaml.

The evidence is in benchmarks/QUALITY.md.
"""

SMALL = 5_000
LARGE = 100_000
"""Training rows."""


def training_params(n_train: int) -> dict[str, object]:
    """Return parameters for a table with so many training rows, instead of those of the lesson."""
    if n_train < SMALL:
        length = {"max_epochs": 300, "eval_every": 1, "patience": 20}
    elif n_train < LARGE:
        # An evaluation takes a third of the time of an epoch.
        length = {"max_epochs": 150, "eval_every": 2, "patience": 10}
    else:
        length = {"max_epochs": 50, "eval_every": 1, "patience": 5}
    return {
        "embedding": "none",
        "hidden": [128, 128] if n_train < LARGE else [256, 256],
        "activation": "relu",
        "dropout": 0.1,
        "members": 8,
        "optimizer": "adamw",
        "lr": 0.004,
        "momentum": 0.0,
        "weight_decay": 0.01,
        "max_grad_norm": 1.0,
        "batch_size": batch_size(n_train),
        **length,
    }


def batch_size(n_train: int) -> int:
    """Return a power of two with which an epoch of a small table still has several steps."""
    for rows, size in ((500, 32), (2_000, 64), (8_000, 128), (LARGE, 256)):
        if n_train < rows:
            return size
    return 1024

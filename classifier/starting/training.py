"""What `start` writes into the section `train` of params.yaml."""

SMALL = 5_000
LARGE = 100_000
"""Training rows."""


def training_params(n_train: int) -> dict[str, object]:
    """Return parameters for a table with so many training rows, instead of those of the lesson."""
    return {
        "hidden": [256, 256],
        "activation": "relu",
        "dropout": 0.1,
        "optimizer": "adamw",
        "lr": 0.001,
        "momentum": 0.0,
        "weight_decay": 0.01,
        "batch_size": 32 if n_train < SMALL else 256 if n_train < LARGE else 1024,
        "max_epochs": 200 if n_train < LARGE else 50,
        "eval_every": 1,
        "patience": 20 if n_train < LARGE else 5,
    }

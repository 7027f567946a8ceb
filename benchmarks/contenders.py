"""Train a load in one way, in a process of its own; print the seconds and the peak memory.

`python -m benchmarks.contenders CONTENDER LOAD FOLDER`
"""

import gc
import json
import os
import sys
import time
import warnings
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.loads import LOADS, Load, Table, read_data
from benchmarks.memory import memory

Train = Callable[[], object]


def threads_of(load: Load) -> int:
    return load.threads or os.cpu_count() or 1


def params_of(load: Load) -> dict[str, Any]:
    from classifier.io.yaml_text import from_yaml

    params = from_yaml(Path("params.yaml").read_text(encoding="utf-8"))
    return {
        "embedding": "none",
        "hidden": load.hidden,
        "activation": "relu",
        "dropout": 0.0,
        "members": 1,
        "optimizer": load.optimizer,
        "lr": load.lr,
        "momentum": 0.0,
        "weight_decay": 0.0,
        "max_grad_norm": None,
        "class_weights": "none",
        "batch_size": load.batch_size,
        "max_epochs": load.epochs,
        "eval_every": load.eval_every,
        "patience": load.epochs,
        "min_delta": 0.0,
        "save_every_seconds": 10,
        "device": "cpu",
        "threads": threads_of(load),
        "calibration": "none",
        "torchrun": params["train"]["torchrun"],
        "seed": 42,
    }


def ours(load: Load, train_table: Table, val_table: Table, **changes: object) -> Train:
    """Train as `stages.train` does; nothing is saved."""
    import torch

    from classifier.network.model import Task
    from classifier.training.device import compute_deterministically
    from classifier.training.folds import Fold
    from classifier.training.loop import train
    from classifier.training.run import start_run
    from classifier.training.step import Rows
    from classifier.training.train_params import TrainParams

    params = TrainParams.model_validate(params_of(load) | changes)
    compute_deterministically(threads_of(load))
    rows, val_rows = (
        Rows(torch.from_numpy(features), torch.from_numpy(target))
        for features, target in (train_table, val_table)
    )
    task = Task(rows.features.shape[1], classes_of(train_table))
    run = start_run(params, task, Fold(rows, val_rows))

    def fit() -> None:
        for _ in train([run], params):
            pass

    return fit


def ours_saving(load: Load, train_table: Table, val_table: Table) -> Train:
    """Train as `stages.train` does, its states saved at the same moments."""
    import torch

    from classifier.network.model import Task
    from classifier.resuming.resume import Agreement, save
    from classifier.resuming.saved_state import SavedStates
    from classifier.training.device import compute_deterministically
    from classifier.training.folds import Fold
    from classifier.training.loop import train
    from classifier.training.run import Training, start_run
    from classifier.training.step import Rows
    from classifier.training.train_params import TrainParams

    params = TrainParams.model_validate(params_of(load))
    compute_deterministically(threads_of(load))
    rows, val_rows = (
        Rows(torch.from_numpy(features), torch.from_numpy(target))
        for features, target in (train_table, val_table)
    )
    task = Task(rows.features.shape[1], classes_of(train_table))
    run = start_run(params, task, Fold(rows, val_rows))
    states = SavedStates("benchmark", Path(sys.argv[3]))

    def fit() -> None:
        agreement = Agreement(params.save_every_seconds)
        for _ in train([run], params):
            if agreement.after_batch().save:
                save(states, Training([run]), params)
        save(states, Training([run]), params, finished=True)

    return fit


def plain(load: Load, train_table: Table, val_table: Table) -> Train:
    """Train with a loop as in a tutorial: a DataLoader for mini-batches."""
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    torch.set_num_threads(threads_of(load))
    model = torch_network(load, train_table)
    criterion = nn.CrossEntropyLoss()
    make = torch.optim.SGD if load.optimizer == "sgd" else torch.optim.Adam
    optimizer = make(model.parameters(), lr=load.lr)
    (x, y), (x_val, y_val) = (tuple(map(torch.from_numpy, t)) for t in (train_table, val_table))
    loader = DataLoader(TensorDataset(x, y), batch_size=load.batch_size, shuffle=True)

    def fit() -> None:
        for epoch in range(1, load.epochs + 1):
            model.train()
            for features, target in loader if load.batch_size else [(x, y)]:
                optimizer.zero_grad()
                loss = criterion(model(features), target)
                loss.backward()
                optimizer.step()
            if epoch % load.eval_every == 0:
                model.eval()
                with torch.no_grad():
                    criterion(model(x), y).item()
                    criterion(model(x_val), y_val).item()

    return fit


def sklearn(load: Load, train_table: Table, _val_table: Table) -> Train:
    from sklearn.neural_network import MLPClassifier

    classifier = MLPClassifier(
        load.hidden,
        solver=load.optimizer,
        learning_rate_init=load.lr,
        momentum=0.0,
        alpha=0.0,
        batch_size=load.batch_size or len(train_table[1]),
        max_iter=load.epochs,
        n_iter_no_change=load.epochs + 1,
        tol=0.0,
        shuffle=load.batch_size is not None,
        random_state=42,
    )
    return lambda: classifier.fit(*train_table)


def skorch(load: Load, train_table: Table, _val_table: Table) -> Train:
    import torch
    from skorch import NeuralNetClassifier

    torch.set_num_threads(threads_of(load))
    net = NeuralNetClassifier(
        torch_network(load, train_table),
        criterion=torch.nn.CrossEntropyLoss,
        optimizer=torch.optim.SGD if load.optimizer == "sgd" else torch.optim.Adam,
        lr=load.lr,
        batch_size=load.batch_size or -1,
        max_epochs=load.slow_epochs,
        iterator_train__shuffle=load.batch_size is not None,
        train_split=None,
        verbose=0,
    )
    return lambda: net.fit(*train_table)


def lightning(load: Load, train_table: Table, _val_table: Table) -> Train:
    import logging

    import lightning
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    torch.set_num_threads(threads_of(load))

    class Module(lightning.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.model = torch_network(load, train_table)

        def training_step(self, batch: Any, _index: int) -> Any:
            return torch.nn.functional.cross_entropy(self.model(batch[0]), batch[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            make = torch.optim.SGD if load.optimizer == "sgd" else torch.optim.Adam
            return make(self.parameters(), lr=load.lr)

    loader = DataLoader(
        TensorDataset(*map(torch.from_numpy, train_table)),
        batch_size=load.batch_size or len(train_table[1]),
        shuffle=load.batch_size is not None,
    )
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=load.slow_epochs,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    module = Module()
    return lambda: trainer.fit(module, loader)


def torch_network(load: Load, table: Table) -> Any:
    from torch import nn

    widths = [table[0].shape[1], *load.hidden, classes_of(table)]
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def classes_of(table: Table) -> int:
    return int(table[1].max()) + 1


CONTENDERS = {
    "ours": ours,
    "ours, saving": ours_saving,
    "plain": plain,
    "sklearn": sklearn,
    "skorch": skorch,
    "lightning": lightning,
}


def main(contender: str, load: str, folder: str) -> None:
    warnings.simplefilter("ignore")
    fit = CONTENDERS[contender](LOADS[load], *read_data(Path(folder)))
    start = time.perf_counter()
    fit()
    seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "peak_bytes": memory("VmHWM")}))
    if contender.startswith("ours"):
        # As each stage of the pipeline ends.
        gc.freeze()


if __name__ == "__main__":
    main(*sys.argv[1:])

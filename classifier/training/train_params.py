"""The `train` section of params.yaml, and what its parameters may be."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from classifier.network.model import Architecture
from classifier.training.ranks import Torchrun

ClassWeights = Literal["none", "balanced"]


class TrainParams(Architecture):
    """The `train` section of params.yaml."""

    optimizer: Literal["sgd", "adam", "adamw"]
    lr: float = Field(gt=0, description="a number above 0")
    momentum: float = Field(ge=0, lt=1, description="a number of at least 0 and below 1")
    weight_decay: float = Field(ge=0, description="a number of at least 0")
    max_grad_norm: float | None = Field(gt=0, description="a number above 0, or null for no limit")
    class_weights: ClassWeights
    batch_size: int | None = Field(
        ge=1, description="a whole number of at least 1, or null for all rows"
    )
    max_epochs: int = Field(ge=1, description="a whole number of at least 1")
    eval_every: int = Field(ge=1, description="a whole number of at least 1")
    patience: int = Field(ge=1, description="a whole number of at least 1")
    min_delta: float = Field(ge=0, description="a number of at least 0")
    save_every_seconds: float = Field(ge=0, description="a number of at least 0")
    device: Literal["auto", "cpu", "cuda", "mps"]
    same_bytes: Literal["everywhere", "here"]
    threads: Literal["auto"] | Annotated[int, Field(ge=1)] = Field(
        description="auto or a whole number of at least 1"
    )
    torchrun: Torchrun = Field(description="a section: see docs/one-big-run.md")
    calibration: Literal["none", "temperature"]
    seed: int = Field(ge=0, lt=2**32, description="a whole number from 0 to 4294967295")

    @model_validator(mode="before")
    @classmethod
    def _has_no_launcher(cls, values: object) -> object:
        if isinstance(values, dict) and "launcher" in values:
            raise ValueError(
                "train.launcher is no parameter any more: for torchrun, set train.torchrun, for "
                "example its nproc_per_node; otherwise remove the line"
            )
        return values

"""The start of several processes that train together: torchrun, which comes with PyTorch."""

import os
import sys
from typing import Literal

from pydantic import Field

from classifier.io.params import Params


class Torchrun(Params):
    """Options of torchrun, by its own names.

    See https://docs.pytorch.org/docs/stable/elastic/run.html.
    """

    nproc_per_node: int = Field(ge=1, description="a whole number of at least 1")
    nnodes: int = Field(ge=1, description="a whole number of at least 1")
    node_rank: int = Field(ge=0, description="a whole number of at least 0")
    rdzv_backend: Literal["static", "c10d"] = Field(description="one of static, c10d")
    rdzv_endpoint: str | None = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9.-]*:[0-9]+$",
        description="null, or a machine's name and a port, such as host:29500",
    )
    max_restarts: int = Field(ge=0, description="a whole number of at least 0")

    @property
    def is_wanted(self) -> bool:
        return self.nproc_per_node > 1 or self.nnodes > 1

    def options(self) -> list[str]:
        """Return the arguments of torchrun before the program."""
        options = [
            f"--nproc-per-node={self.nproc_per_node}",
            f"--max-restarts={self.max_restarts}",
        ]
        if self.nnodes == 1:
            return ["--standalone", *options]
        options += [f"--nnodes={self.nnodes}", f"--rdzv-backend={self.rdzv_backend}"]
        if self.rdzv_endpoint is not None:
            options.append(f"--rdzv-endpoint={self.rdzv_endpoint}")
        if self.rdzv_backend == "static":
            options.append(f"--node-rank={self.node_rank}")
        return options


def become_torchrun(torchrun: Torchrun, module: str) -> None:
    """Let torchrun take this process's place, and run `module` in each rank.

    Signals and the exit status are torchrun's from then on. No shell is asked.
    """
    program = [sys.executable, "-m", "torch.distributed.run", *torchrun.options(), "-m", module]
    sys.stdout.flush()
    os.execv(sys.executable, program)  # noqa: S606

"""A computation in the making: ONNX operators, one after the other."""

from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import NodeProto, TensorProto, helper, numpy_helper


class Graph:
    """Operators, and the constants that they take; what they return is known by its name."""

    def __init__(self, prefix: str) -> None:
        """Let the names of all results begin with `prefix`."""
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []
        self._prefix = prefix

    def constant(self, values: npt.ArrayLike, kind: npt.DTypeLike = np.float64) -> str:
        name = f"{self._prefix}constant {len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values, kind), name))
        return name

    def add(self, operator: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:  # noqa: ANN401 (ONNX' own)
        """Append an operator; return the name of its result, which is `output` if that is said."""
        name = output or f"{self._prefix}{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return name

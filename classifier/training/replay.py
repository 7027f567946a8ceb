"""A function of tensors whose operations are recorded, and from then on repeated without it.

For a small network PyTorch spends most of a training step between the operations: on modules,
autograd's graph and the optimizer's bookkeeping. Repeating the operations alone (forward,
backward and update, in the order and with the arguments that autograd and the optimizer gave
them) takes less than half of the time and gives the same bits.
"""

import inspect
import operator
from collections.abc import Callable, Sequence
from typing import Any, Self

import torch
from torch import Tensor, fx
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakTensorKeyDictionary

Function = Callable[..., None]
"""A function of tensors."""

Shapes = tuple[torch.Size, ...]

RECORDINGS_TRIED = 4
"""How many recordings a shape of the inputs gets; then the function goes on being called."""


class Replayed:
    """`function`, called as it is until two recordings in a row are the same, then repeated.

    `function` may change tensors in place, and nothing else. It itself goes on being called where
    an argument of an operation changes between calls without being a tensor (the step count of an
    optimizer, say), where it makes tensors out of Python numbers, and where it reads a value from
    a tensor, because a repetition cannot know what it does with that. Once it is repeated, nothing
    of this is looked at again: what is to change, such as a learning rate, has to be a tensor.
    """

    def __init__(self, function: Function) -> None:
        self._function = function
        self._recordings: dict[Shapes, list[Recording]] = {}
        self._replays: dict[Shapes, Function] = {}

    def __call__(self, *inputs: Tensor) -> None:
        shapes = tuple([each.shape for each in inputs])
        if shapes in self._replays:
            self._replays[shapes](*inputs)
        else:
            self._record(shapes, *inputs)

    def _record(self, shapes: Shapes, *inputs: Tensor) -> None:
        recording = Recording(*inputs)
        with recording:
            self._function(*inputs)
        recordings = self._recordings.setdefault(shapes, [])
        if not recording.can_be_repeated or len(recordings) == RECORDINGS_TRIED:
            self._replays[shapes] = self._function
        elif recordings and recording.is_same_as(recordings[-1]):
            self._replays[shapes] = recording.replay()
        recordings.append(recording)


class Recording(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """The operations below autograd that run while this context is entered."""

    def __init__(self, *inputs: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.can_be_repeated = True
        self._graph = fx.Graph()
        # Held weakly: autograd copies a gradient that somebody else holds as well.
        self._nodes = WeakTensorKeyDictionary()
        self._captured: dict[fx.Node, Tensor] = {}
        for index, tensor in enumerate(inputs):
            self._nodes[tensor] = self._graph.placeholder(f"input_{index}")

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Return that no compiler need be imported, for a second, to be told to skip this."""
        return False

    def __torch_dispatch__(
        self,
        operation: OpOverload[..., Any],
        _types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        kwargs = kwargs or {}
        result = operation(*args, **kwargs)
        if operation.namespace == "profiler":
            return result
        if operation is torch.ops.aten.detach.default:
            self._nodes[result] = self._node(args[0])
            return result
        node = self._graph.call_function(operation, self._node(args), self._node(kwargs))
        results = result if isinstance(result, list | tuple) else [result]
        for index, item in enumerate(results):
            if isinstance(item, Tensor):
                # An operation in place returns a tensor that has a node already.
                if item not in self._nodes:
                    self._nodes[item] = node if item is result else self._part(node, index)
            elif item is not None:
                self.can_be_repeated = False
        return result

    def _part(self, node: fx.Node, index: int) -> fx.Node:
        return self._graph.call_function(operator.getitem, (node, index))

    def _node(self, value: Any) -> Any:  # noqa: ANN401
        """Replace each tensor in nested lists, tuples and dicts by its node."""
        if isinstance(value, Tensor):
            if value not in self._nodes:
                node = self._graph.placeholder(f"captured_{len(self._captured)}")
                self._nodes[value] = node
                self._captured[node] = value
            return self._nodes[value]
        if isinstance(value, dict):
            return {key: self._node(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(self._node(item) for item in value)
        return value

    def is_same_as(self, other: Self) -> bool:
        """Say whether both are the same operations on the same captured tensors."""
        mine, theirs = list(self._captured.values()), list(other._captured.values())
        return (
            str(self._graph) == str(other._graph)
            and len(mine) == len(theirs)
            and all(one is another for one, another in zip(mine, theirs, strict=True))
        )

    def replay(self) -> Function:
        """Return a function that repeats the operations, on inputs of the same shapes."""
        # Detached, a tensor is the same memory, and autograd does not watch what happens to it.
        captured = {node: tensor.detach() for node, tensor in self._captured.items()}
        for node in self._graph.nodes:
            if node.op != "call_function" or not isinstance(node.target, OpOverload):
                continue
            if node.target.is_view and all(used in captured for used in node.all_input_nodes):
                # A view stays one of its tensor's memory, whatever is written there.
                view = node.target(*fx.map_arg(node.args, captured.__getitem__), **node.kwargs)
                with self._graph.inserting_before(node):
                    placeholder = self._graph.placeholder(f"view_{len(captured)}")
                node.replace_all_uses_with(placeholder)
                self._graph.erase_node(node)
                captured[placeholder] = view
            else:
                node.target = python_binding(node.target)
        self._graph.output(None)
        forward = fx.GraphModule({}, self._graph).forward
        constants = [captured[node] for node in self._graph.nodes if node in captured]
        return lambda *inputs: forward(*inputs, *constants)


def python_binding(operation: OpOverload[..., Any]) -> Callable[..., Any]:
    """Return what a Python program would call, such as torch.mm: a call of it costs less."""
    name = operation.overloadpacket.__name__
    for namespace in (torch, Tensor):
        binding = getattr(namespace, name, None)
        # What torch has written in Python may do something else than the operation.
        if inspect.isbuiltin(binding) or inspect.ismethoddescriptor(binding):
            return binding
    return operation

"""YAML as DVC reads it, and written so that other programs read the same.

DVC reads YAML 1.2; most other programs read 1.1, in which `no` is false, 12:30:45 a number and 1e-3
a text.
"""

import io
import sys
from copy import deepcopy
from functools import lru_cache
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.representer import SafeRepresenter
from ruamel.yaml.resolver import VersionedResolver

YAML_1_1 = VersionedResolver((1, 1))


class ReadAlike(SafeRepresenter):
    """Writes what YAML 1.1 and 1.2 read alike."""

    def represent_scalar(
        self, tag: str, value: str, style: str | None = None, anchor: object = None
    ) -> ScalarNode:
        if tag.endswith(":float") and "." not in value:
            value = value.replace("e", ".0e")
        elif tag.endswith(":str") and "".join(value.splitlines()) != value:
            style = '"'  # with the ends of its lines spelled out
        elif tag.endswith(":str") and YAML_1_1.resolve(ScalarNode, value, (True, False)) != tag:
            style = "'"
        return super().represent_scalar(tag, value, style, anchor)


def from_yaml(text: str) -> Any:  # noqa: ANN401 (YAML)
    """Return what a text of YAML 1.2 holds: lists, maps and plain values.

    Raises
    ------
    ValueError
        If it is no YAML, or holds anything else.

    """
    return deepcopy(_parsed(text))


@lru_cache(maxsize=1)
def _parsed(text: str) -> object:
    """Return what a text holds; each stage asks for several sections of one."""
    try:
        return YAML(typ="safe", pure=True).load(text)
    except (YAMLError, RecursionError) as error:
        raise ValueError(str(error)) from None


def to_yaml(document: object) -> str:
    """Return a document in which each item and each key has a line of its own."""
    writer = YAML(typ="safe", pure=True)
    writer.Representer = ReadAlike
    writer.default_flow_style = False
    writer.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    writer.width = sys.maxsize
    text = io.StringIO()
    writer.dump(document, text)
    return text.getvalue()


def in_yaml(value: object) -> str:
    """Return a value on one line; of lists, those of plain values."""
    if isinstance(value, list):
        return f"[{', '.join(map(in_quotes, value))}]"
    return to_yaml({"x": value}).removeprefix("x: ").removesuffix("\n")


def in_quotes(value: object) -> str:
    """Return a value on one line, a text between quotes: so it may stand in brackets."""
    spelled = in_yaml(value)
    if not isinstance(value, str) or spelled[0] in "'\"":
        return spelled
    return "'" + spelled.replace("'", "''") + "'"

"""params.yaml, changed with its comments kept."""

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from ruamel.yaml import YAML
from ruamel.yaml.nodes import CollectionNode, MappingNode, Node

from classifier.io.files import read_text, write_bytes
from classifier.io.params import PARAMS_FILE, read_section
from classifier.io.user_error import LISTS, UserError, shortened
from classifier.io.yaml_text import from_yaml, in_quotes, in_yaml

Reasons = Mapping[tuple[str, str | bool | int], str]
"""Why an item is in a list, by the parameter and the item."""

COMMENT = re.compile(r"([ \t]*)(#.*)")

COLUMN = 27
"""Where comments begin in params.yaml."""

MOST_CHARACTERS = 70
"""The most characters of a comment."""


def refuse_uncommitted_changes() -> None:
    """Refuse to overwrite a params.yaml that git does not hold as it is.

    Raises `UserError` if it has changes, or there is no git to ask.
    """
    command = ["git", "status", "--porcelain", "--", str(PARAMS_FILE)]
    try:
        changes = subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        raise UserError(
            f"git cannot tell whether {PARAMS_FILE} has changes; to write over it, add --force"
        ) from None
    if changes:
        raise UserError(
            f"{PARAMS_FILE} has changes that are not committed; commit them, undo them with "
            f"git checkout {PARAMS_FILE}, or write over them with --force"
        )


def with_params(
    changes: Mapping[str, Mapping[str, object]], reasons: Reasons = MappingProxyType({})
) -> str:
    """Return params.yaml with these values in its sections; all else keeps its bytes.

    Raises `UserError` if the file is not there, or none that can be changed.
    """
    before = {name: read_section(name) for name in changes}
    text = read_text(PARAMS_FILE).removesuffix("\n") + "\n"
    meant = from_yaml(text) | {name: before[name] | dict(changes[name]) for name in changes}
    try:
        sections = {
            key.value: node for key, node in YAML(typ="safe", pure=True).compose(text).value
        }
        edits = [
            _edit(text, sections[section], name, value, reasons)
            for section, values in changes.items()
            for name, value in values.items()
            if not _is_there(before[section], name, value)
        ]
        for start, end, new in sorted(edits, reverse=True):
            text = text[:start] + new + text[end:]
        is_meant = from_yaml(text) == meant
    except (LookupError, TypeError, ValueError):
        is_meant = False
    if not is_meant:
        raise UserError(
            f"{PARAMS_FILE} has a form that cannot be changed here, such as one value for several "
            f"parameters; write each on a line of its own, or git checkout {PARAMS_FILE}"
        )
    return text


def _is_there(section: Mapping[str, object], name: str, value: object) -> bool:
    """Say whether a parameter need not be written: it may lack a reason, or quotes."""
    is_same = name in section and repr(section[name]) == repr(value)
    return is_same and not (name in LISTS and value) and not in_yaml(value).startswith("'")


def _edit(
    text: str, section: MappingNode, name: str, value: object, reasons: Reasons
) -> tuple[int, int, str]:
    """Return from where to where the text has to be another one, and which."""
    key, old = {key.value: (key, node) for key, node in section.value}.get(name, (None, section))
    end = len(text[: _last(old).end_mark.index].rstrip())
    if section.flow_style and key is None:
        return end - 1, end - 1, f", {name}: {in_quotes(value)}"
    if section.flow_style:
        return old.start_mark.index, end, in_quotes(value)

    column = section.value[0][0].start_mark.column
    indent = " " * column
    line_end = text.index("\n", end)
    if key is None:
        start, head, comments = line_end, f"\n{indent}{name}:", []
    else:
        start, after_key = key.start_mark.index - column, text.index(":", key.end_mark.index) + 1
        head = text[start:after_key]
        comments = [*COMMENT.finditer(text, after_key, old.start_mark.index)]
        if _last(old) is old:  # else it is the last item's, and goes with it
            comments += COMMENT.finditer(text, end, line_end)
    items = value if name in LISTS and isinstance(value, list) else []
    lines = [head if items else f"{head} {in_yaml(value)}"]
    if comments:
        first, *others = comments
        lines = [_commented(lines[0], first[2], _column(text, first))]
        lines += [indent + other[2] for other in others]
    lines += [
        _commented(f"{indent}- {in_yaml(item)}", _as_comment(reasons.get((name, item), "")))
        for item in items
    ]
    return start, line_end, "\n".join(lines)


def _last(node: Node) -> Node:
    """Return the node with which a node ends; lists and sections end only with what follows."""
    while isinstance(node, CollectionNode) and not node.flow_style:
        *_, node = node.value[-1] if isinstance(node, MappingNode) else node.value
    return node


def _column(text: str, comment: re.Match[str]) -> int:
    """Return where a comment is to be: where it is, if no long value has pushed it there."""
    column = comment.start(2) - text.rfind("\n", 0, comment.start()) - 1
    return min(column, COLUMN) if len(comment[1]) == 1 else column


def _commented(line: str, comment: str, column: int = COLUMN) -> str:
    return f"{line + ' ':<{column}}{comment}".rstrip()


def _as_comment(reason: str) -> str:
    # Of what a table holds, not all may stand in YAML.
    printable = "".join(c if c.isprintable() else " " for c in reason)
    line = shortened(printable, MOST_CHARACTERS)
    return line and f"# {line}"


def write_params(text: str) -> None:
    """Write params.yaml, with line ends as they are in it."""
    newline = "\r\n" if b"\r\n" in PARAMS_FILE.read_bytes() else "\n"
    write_bytes(PARAMS_FILE, text.replace("\n", newline).encode())


def path_in_params(table: Path) -> str:
    """Return the path as params.yaml has it: from here, if it is in this folder."""
    whole = table.resolve()
    return str(whole.relative_to(Path.cwd()) if whole.is_relative_to(Path.cwd()) else whole)

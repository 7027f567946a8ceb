"""params.yaml, changed with its comments kept."""

import io
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import YAMLError

from classifier.io.files import atomic_write
from classifier.io.params import PARAMS_FILE
from classifier.io.user_error import LISTS, UserError

if TYPE_CHECKING:
    # With it come skrub and scikit-learn, for which a search would wait.
    from classifier.starting.choice import Choice

NULL = "tag:yaml.org,2002:null"

MOST_CHARACTERS = 70
"""Of a comment."""


def refuse_uncommitted_changes() -> None:
    """Refuse to overwrite a params.yaml that git does not hold as it is.

    Raises
    ------
    UserError
        If it has changes, or there is no git to ask.

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


def with_choice(choice: "Choice", training: dict[str, object]) -> str:
    """Return params.yaml with the sections `prepare` and `train` as chosen.

    Raises
    ------
    UserError
        If the file is not there, or no YAML.

    """
    document = _read()
    reasons = {
        (decision.parameter, decision.value): decision.reason for decision in choice.decisions
    }
    prepare = document["prepare"]
    for name, value in choice.params.model_dump().items():
        if name in LISTS and value:
            prepare[name] = _commented(value, [reasons.get((name, item), "") for item in value])
        else:
            _set(prepare, name, value)
    for name, value in training.items():
        _set(document["train"], name, value)
    return _text(document)


def with_training(training: Mapping[str, object]) -> str:
    """Return params.yaml with these parameters of `train`.

    Raises
    ------
    UserError
        If the file is not there, or no YAML.

    """
    document = _read()
    for name, value in training.items():
        _set(document["train"], name, value)
    return _text(document)


def _read() -> CommentedMap:
    try:
        document: CommentedMap = _round_trip().load(PARAMS_FILE.read_text(encoding="utf-8"))
        document["prepare"], document["train"]
    except (OSError, YAMLError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise UserError(
            f"{PARAMS_FILE} cannot be read; restore it with git checkout {PARAMS_FILE}: {error}"
        ) from None
    return document


def _text(document: CommentedMap) -> str:
    text = io.StringIO()
    _round_trip().dump(document, text)
    return text.getvalue()


def _round_trip() -> YAML:
    """Return what keeps comments, and makes no objects but lists, maps and plain values."""
    round_trip = YAML(typ="rt")
    round_trip.preserve_quotes = True
    round_trip.width = 4096
    round_trip.representer.add_representer(
        type(None), lambda representer, _: representer.represent_scalar(NULL, "null")
    )
    return round_trip


def write_params(text: str) -> None:
    with atomic_write(PARAMS_FILE) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _set(section: CommentedMap, name: str, value: object) -> None:
    if section.get(name) == value and type(section.get(name)) is type(value):
        return
    if isinstance(value, list):
        value = CommentedSeq(value)
        value.fa.set_flow_style()
    section[name] = value


def _commented(items: list[str], comments: list[str]) -> CommentedSeq:
    sequence = CommentedSeq(items)
    for index, comment in enumerate(comments):
        line = " ".join(comment.split())
        if len(line) > MOST_CHARACTERS:
            line = line[: MOST_CHARACTERS - 3] + "..."
        if line:
            sequence.yaml_add_eol_comment(line, index, column=26)
    return sequence


def path_in_params(table: Path) -> str:
    """Return the path as params.yaml has it: from here, if it is in this folder."""
    whole = table.resolve()
    return str(whole.relative_to(Path.cwd()) if whole.is_relative_to(Path.cwd()) else whole)

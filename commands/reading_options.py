"""How a table is read, as options of a command: those of the section `prepare`."""

import argparse
import shlex
from contextlib import suppress
from typing import Any

from pydantic import ValidationError

from classifier.io.user_error import LISTS, NeedsParameterError, UserError
from classifier.io.yaml_text import from_yaml, in_yaml
from classifier.tables.prepare_params import AS_THE_FILE_SAYS, Reading


def add_reading_options(parser: argparse.ArgumentParser) -> None:
    options = parser.add_argument_group("how the table is read (default: as a look at it says)")
    for name, field in Reading.model_fields.items():
        help_text = str(field.description).replace("%", "%%")
        how: dict[str, Any] = {"action": "append"} if name in LISTS else {}
        options.add_argument(
            _option(name),
            default=getattr(AS_THE_FILE_SAYS, name),
            help=f"one of {help_text}" if name in LISTS else help_text,
            **how,
        )


def reading_from(arguments: argparse.Namespace) -> Reading:
    """Return the options of the command line, checked.

    Raises a `UserError` that names the option and what is allowed.
    """
    values = {name: getattr(arguments, name) for name in Reading.model_fields}
    for name in ("header", "skip_rows"):
        # They need not be texts.
        with suppress(ValueError):
            values[name] = from_yaml(values[name])
    try:
        return Reading.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        allowed = Reading.model_fields[name].description
        raise UserError(f"{_option(name)} is {first['input']!r}, but must be {allowed}") from None


def as_option(error: NeedsParameterError) -> str | None:
    """Return what settles it on the command line, to be pasted into a shell, if anything does."""
    value = error.value if isinstance(error.value, str) else in_yaml(error.value)
    if error.parameter not in Reading.model_fields or "\0" in value:
        return None
    return f"add {_option(error.parameter)}={in_shell(value)}"


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def in_shell(text: str) -> str:
    """Return a text on one line, as bash and zsh take it; the POSIX of 2024 has this form, too."""
    if text.isprintable():
        return shlex.quote(text)
    spelled = "".join(
        one if one.isalnum() else "".join(f"\\{byte:03o}" for byte in one.encode()) for one in text
    )
    return f"$'{spelled}'"

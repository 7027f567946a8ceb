"""Files that are the old one or the whole new one, also after a crash; texts and JSON in them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from classifier.io.user_error import NotWrittenError, UserError


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; when the block ends well, it replaces `path`.

    The data is on the disk before the name is. When the block raises, `path` stays as it was
    and the temporary file is removed. Where it cannot be written, raises what `errors_name` does.
    """
    temporary = _temporary(path)
    with errors_name(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            _fsync(temporary)
            temporary.replace(path)
        except BaseException:
            # Where nothing can be removed either, the first error is the one to report.
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        _fsync(path.parent)


@contextmanager
def errors_name(path: Path) -> Iterator[None]:
    """Raise `NotWrittenError` for `path` where an error is about it, or names no file at all."""
    own = {None, str(path), str(_temporary(path)), *map(str, path.parents)}
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename not in own:
            raise
        # A write to an open file does not say to which.
        raise NotWrittenError(error.errno, os.strerror(error.errno), str(path)) from error


def write_bytes(path: Path, content: bytes) -> None:
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)


def _temporary(path: Path) -> Path:
    # Not a random name: what a killed process left behind is overwritten by the next one.
    return path.with_name(path.name + ".tmp")


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_text(path: Path, encoding: str = "utf-8") -> str:
    """Read a text; raises `UserError` where there is none."""
    try:
        return path.read_text(encoding)
    except FileNotFoundError:
        raise UserError(f"{path} is missing; restore it with: git checkout {path}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} must be UTF-8 text: {error}") from None


Model = TypeVar("Model", bound=BaseModel)


def write_json(path: Path, model: BaseModel) -> None:
    write_bytes(path, f"{model.model_dump_json(indent=2)}\n".encode())


def read_json(path: Path, model: type[Model], made_by: str = "dvc repro") -> Model:
    """Read what `write_json` has written, and the command `made_by` makes.

    Raises `UserError` if there is no file, or it holds something else.
    """
    try:
        return model.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{path} is missing; to make it: {made_by}") from None
    except ValidationError:
        raise UserError(
            f"{path} is not what a stage has written; to make it anew: {made_by}"
        ) from None

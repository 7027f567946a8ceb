"""Files that are either the old one or the whole new one, also after a crash."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; when the block ends well, it replaces `path`.

    The data is on the disk before the name is. When the block raises, `path` stays as it was
    and the temporary file is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not a random name: what a killed process left behind is overwritten by the next one.
    temporary = path.with_name(path.name + ".tmp")
    try:
        yield temporary
        _fsync(temporary)
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            # A write to an open file, as on a full disk, does not say to which.
            error.filename = str(path)
        raise
    _fsync(path.parent)


def write_json(path: Path, model: BaseModel) -> None:
    """Write a pydantic model for people and programs to read."""
    with atomic_write(path) as temporary:
        temporary.write_text(model.model_dump_json(indent=2) + "\n", encoding="utf-8")


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

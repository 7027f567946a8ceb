"""Files that are either the old one or the whole new one, also after a crash."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from classifier.io.user_error import NotWrittenError


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; when the block ends well, it replaces `path`.

    The data is on the disk before the name is. When the block raises, `path` stays as it was
    and the temporary file is removed.

    Raises
    ------
    NotWrittenError
        Names `path`, as on a full disk.

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
    """Let an error name `path` if it is about that, or about a file that it does not name.

    Raises
    ------
    NotWrittenError
        Names `path`, as on a full disk.

    """
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

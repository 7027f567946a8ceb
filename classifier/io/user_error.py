"""Errors that people cause: one line that says what, where and what to do."""

import errno
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class UserError(Exception):
    """Something in the parameters, the data or the surroundings that the user can put right."""


@contextmanager
def user_errors_in_one_line(stage: str) -> Iterator[None]:
    """Print a `UserError` as one line on standard error and exit with status 1.

    So is a full disk. Any other exception is the program's own and keeps its traceback. The
    process is to end with the block.
    """
    try:
        yield
    except UserError as error:
        sys.exit(f"{stage}: error: {' '.join(str(error).split())}")
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
            raise
        sys.exit(
            f"{stage}: error: {error.filename or 'a file'} cannot be written: {error.strerror}"
        )
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        # Python would look for garbage in all that was imported before it ends: with torch, most
        # of a second, for memory that is given back anyway.
        gc.freeze()

"""Errors that people cause: one line that says what, where and what to do."""

import errno
import gc
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from classifier.io.yaml_text import in_quotes, in_yaml


class UserError(Exception):
    """Something in the parameters, the data or the surroundings that the user can put right."""


class NotWrittenError(OSError):
    """A file that cannot be written, named by `filename`: the disk is full, or not ours to use."""


class NeedsParameterError(UserError):
    """A problem that a parameter of `prepare` settles; `start` sets it.

    `value` is what to set the parameter to, or to add to it where it is a list; `otherwise` says
    what else would help.
    """

    def __init__(
        self,
        problem: str,
        parameter: str,
        value: str | bool,  # noqa: FBT001 (a value)
        otherwise: str | None = None,
    ) -> None:
        self.problem = problem
        self.parameter = parameter
        self.value = value
        self.otherwise = otherwise
        if parameter in LISTS:
            advice = f"add {in_quotes(value)} to prepare.{parameter}"
        else:
            advice = f"set prepare.{parameter}: {in_yaml(value)}"
        super().__init__(self.with_advice(advice))

    def with_advice(self, advice: str | None) -> str:
        """Return the message with something else to do in the end, or nothing."""
        return "; ".join(part for part in (self.problem, self.otherwise, advice) if part)


LISTS = ("categorical", "gaps", "ignore", "not_gaps", "target_gaps", "text")
"""Parameters that are lists of texts."""


def shortened(text: str, most: int) -> str:
    """Return a text for a person: on one line, of so many characters at most."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 3]}..."


def quoted(names: list[str]) -> str:
    """Return names for a message."""
    return ", ".join(f"'{name}'" for name in names)


@contextmanager
def user_errors_in_one_line(stage: str) -> Iterator[None]:
    """Print a `UserError` as one line on standard error and exit with status 1.

    So is a file that cannot be written. Where nobody reads on, as behind `| head`, it ends without
    a word. Any other exception is the program's own and keeps its traceback. The process is to end
    with the block.
    """
    try:
        yield
        # Not when Python ends, whose own words would follow.
        print(end="", flush=True)
    except UserError as error:
        sys.exit(f"{stage}: error: {' '.join(map(str.strip, str(error).splitlines()))}")
    except BrokenPipeError:
        if not _nobody_reads_on():
            raise
        sys.exit(141)
    except OSError as error:
        no_room = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
        if not isinstance(error, NotWrittenError) and error.errno not in no_room:
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
        if _nobody_reads_on():
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _nobody_reads_on() -> bool:
    """Say whether standard output is a pipe that has nobody at its other end."""
    pipe = select.poll()
    pipe.register(1, 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in pipe.poll(0))

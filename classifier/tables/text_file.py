"""Files of text: compressed or not, in one encoding or another."""

import bz2
import codecs
import gzip
import io
import lzma
import zipfile
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, NoReturn, TextIO, cast

from classifier.io.user_error import NeedsParameterError, UserError, quoted

MAGIC = {"gz": b"\x1f\x8b", "bz2": b"BZh", "xz": b"\xfd7zXZ\x00", "zip": b"PK\x03\x04", "none": b""}
"""How files begin, by their compression."""

OPEN: dict[str, Callable[[Path], Any]] = {"gz": gzip.open, "bz2": bz2.open, "xz": lzma.open}

FIRST_CHARACTERS = 65_536


@dataclass(frozen=True)
class TextFile:
    path: Path
    name: str
    """What messages call it."""
    compression: str
    encoding: str

    def open_text(self, errors: str = "replace") -> TextIO:
        """Open it, by default with a mark in place of what is not in its encoding."""
        return io.TextIOWrapper(
            self.open_binary(), encoding=self.encoding, errors=errors, newline=""
        )

    def beginning(self) -> str:
        """Return the first characters; raises `UserError` if it is not in its encoding at all."""
        try:
            with self.open_text() as text:
                return text.read(FIRST_CHARACTERS)
        except UnicodeError as error:
            raise NeedsParameterError(
                f"{self.name} is not {self.encoding} text: {error}", "encoding", "auto"
            ) from None

    def content(self) -> str:
        """Return all of it; raises `UserError` if it is not in its encoding."""
        try:
            with self.open_text("strict") as text:
                return text.read()
        except UnicodeError as error:
            self.refuse_encoding(f"{self.name} is not {self.spelled_encoding} text: {error}")

    @property
    def spelled_encoding(self) -> str:
        return self.encoding.upper().removesuffix("-SIG")

    def refuse_encoding(self, problem: str) -> NoReturn:
        """Raise a `UserError` that names another encoding if all of the file is in that."""
        advice = "save the file as UTF-8, or name the encoding that it has"
        other = "cp1252" if self.encoding.startswith("utf-8") else "utf-8"
        try:
            with self.open_binary() as binary:
                deque(codecs.iterdecode(binary, other), maxlen=0)
        except UnicodeError:
            raise UserError(f"{problem}; {advice}") from None
        raise NeedsParameterError(problem, "encoding", other, advice)

    def open_binary(self) -> IO[bytes]:
        """Open it unpacked; raises `UserError` for an archive of more or less than one file."""
        if self.compression == "none":
            return self.path.open("rb")
        if self.compression != "zip":
            return cast("IO[bytes]", OPEN[self.compression](self.path))
        archive = zipfile.ZipFile(self.path)
        # Folders, and what macOS adds of its own.
        members = [
            member
            for member in archive.infolist()
            if not member.is_dir() and not member.filename.startswith("__MACOSX/")
        ]
        if len(members) != 1:
            names = quoted([member.filename for member in members[:5]])
            raise UserError(
                f"{self.name} holds {len(members)} files ({names}); it must hold one: the table"
            )
        if members[0].flag_bits & 1:
            raise UserError(f"{self.name} is encrypted; unpack it")
        return archive.open(members[0])


def open_text_file(path: Path, name: str, encoding: str) -> TextFile:
    """Find out the compression, and the encoding if it is `auto`: UTF-8, or UTF-16 with a mark.

    Raises `UserError` if it is an archive of more or less than one file.
    """
    with path.open("rb") as binary:
        start = binary.read(6)
    compression = next(kind for kind, magic in MAGIC.items() if start.startswith(magic))
    file = TextFile(path, name, compression, encoding)
    with file.open_binary() as unpacked:
        mark = unpacked.read(2)
    if encoding == "auto" and mark in {codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE}:
        return replace(file, encoding="utf-16")
    if encoding == "auto" or codecs.lookup(encoding).name == "utf-8":
        # It leaves out a mark at the beginning if there is one.
        return replace(file, encoding="utf-8-sig")
    return file

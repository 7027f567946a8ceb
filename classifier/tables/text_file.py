"""Files of text as people have them: compressed or not, in one encoding or another."""

import bz2
import gzip
import lzma
import zipfile
from codecs import iterdecode
from dataclasses import dataclass, replace
from io import TextIOWrapper
from pathlib import Path
from typing import IO, Literal, TextIO, cast

from classifier.io.user_error import UserError, quoted

Compression = Literal["none", "gz", "bz2", "xz", "zip"]

MAGIC: dict[bytes, Compression] = {
    b"\x1f\x8b": "gz",
    b"BZh": "bz2",
    b"\xfd7zXZ\x00": "xz",
    b"PK\x03\x04": "zip",
}
"""How compressed files begin."""

BYTE_ORDER_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


@dataclass(frozen=True)
class TextFile:
    """A file of text."""

    path: Path
    name: str
    """What messages call it."""
    compression: Compression
    encoding: str

    def open_text(self) -> TextIO:
        """Open it with a mark in place of what is not in its encoding."""
        return TextIOWrapper(
            self.open_binary(), encoding=self.encoding, errors="replace", newline=""
        )

    def open_binary(self) -> IO[bytes]:
        """Open it unpacked; raises `UserError` for an archive of more or less than one file."""
        match self.compression:
            case "gz":
                return cast("IO[bytes]", gzip.open(self.path))
            case "bz2":
                return cast("IO[bytes]", bz2.open(self.path))
            case "xz":
                return cast("IO[bytes]", lzma.open(self.path))
            case "zip":
                return self._open_only_member()
            case "none":
                return self.path.open("rb")

    def _open_only_member(self) -> IO[bytes]:
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

    def is_in(self, encoding: str) -> bool:
        """Say whether all of it is text in an encoding."""
        try:
            with self.open_binary() as binary:
                for _ in iterdecode(binary, encoding):
                    pass
        except UnicodeError:
            return False
        return True


def open_text_file(path: Path, name: str, encoding: str) -> TextFile:
    """Find out the compression, and the encoding if it is `auto`: UTF-8, or UTF-16 with a mark.

    Raises
    ------
    UserError
        If it is an archive of more or less than one file.

    """
    with path.open("rb") as binary:
        start = binary.read(6)
    compressions = [kind for magic, kind in MAGIC.items() if start.startswith(magic)]
    file = TextFile(path, name, compressions[0] if compressions else "none", encoding)
    if encoding != "auto" and encoding.lower().replace("_", "-") not in {"utf-8", "utf8"}:
        return file
    with file.open_binary() as unpacked:
        start = unpacked.read(3)
    marked = (kind for mark, kind in BYTE_ORDER_MARKS.items() if start.startswith(mark))
    found = next(marked, "utf-8")
    return replace(file, encoding=found if encoding == "auto" or found == "utf-8-sig" else "utf-8")

"""Files of text as people have them: compressed or not, in one encoding or another."""

import bz2
import gzip
import lzma
import zipfile
from codecs import iterdecode
from dataclasses import dataclass
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

BYTE_ORDER_MARKS = {
    b"\xef\xbb\xbf": "utf-8-sig",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}


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
        return open_binary(self.path, self.name, self.compression)

    def is_in(self, encoding: str) -> bool:
        """Say whether all of it is text in an encoding."""
        try:
            with self.open_binary() as binary:
                for _ in iterdecode(binary, encoding):
                    pass
        except UnicodeError:
            return False
        return True

    @property
    def is_utf_8(self) -> bool:
        return self.encoding in {"utf-8", "utf-8-sig"}


def open_text_file(path: Path, name: str, encoding: str) -> TextFile:
    """Find out the compression, and the encoding if it is `auto`: UTF-8, or UTF-16 with a mark.

    Raises
    ------
    UserError
        If it is an archive of more than one file.

    """
    with path.open("rb") as file:
        start = file.read(6)
    compression: Compression = "none"
    for magic, kind in MAGIC.items():
        if start.startswith(magic):
            compression = kind
    if encoding == "auto" or encoding.lower().replace("_", "-") in {"utf-8", "utf8"}:
        with open_binary(path, name, compression) as binary:
            start = binary.read(3)
        marked = next(
            (kind for mark, kind in BYTE_ORDER_MARKS.items() if start.startswith(mark)), "utf-8"
        )
        encoding = marked if encoding == "auto" or marked == "utf-8-sig" else "utf-8"
    return TextFile(path, name, compression, encoding)


def open_binary(path: Path, name: str, compression: Compression) -> IO[bytes]:
    match compression:
        case "gz":
            return cast("IO[bytes]", gzip.open(path))
        case "bz2":
            return cast("IO[bytes]", bz2.open(path))
        case "xz":
            return cast("IO[bytes]", lzma.open(path))
        case "zip":
            return _open_only_member(path, name)
        case "none":
            return path.open("rb")


def _open_only_member(path: Path, name: str) -> IO[bytes]:
    archive = zipfile.ZipFile(path)
    # Folders, and what macOS adds of its own.
    members = [
        member
        for member in archive.infolist()
        if not member.is_dir() and not member.filename.startswith("__MACOSX/")
    ]
    if len(members) != 1:
        names = quoted([member.filename for member in members[:5]])
        raise UserError(f"{name} holds {len(members)} files ({names}); it must hold one: the table")
    if members[0].flag_bits & 1:
        raise UserError(f"{name} is encrypted; unpack it")
    return archive.open(members[0])

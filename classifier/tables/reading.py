"""How a file is to be read: the parameters of it."""

import codecs
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from classifier.io.params import Params

Delimiter = Literal["auto", "comma", "semicolon", "tab", "pipe", "blanks"]
Decimal = Literal["auto", "point", "comma"]
Thousands = Literal["auto", "none", "comma", "point", "blank", "apostrophe"]

MARKS = {
    "comma": ",",
    "semicolon": ";",
    "tab": "\t",
    "pipe": "|",
    "blanks": " ",
    "point": ".",
    "blank": " ",
    "apostrophe": "'",
}
"""What the names of delimiters and marks stand for."""


TEXTS = "a list of texts between quotes"


def _encoding(name: str) -> str:
    if name == "auto":
        return name
    try:
        # Not every codec of Python is one of texts.
        "".encode(codecs.lookup(name).name)
    except LookupError:
        raise ValueError from None
    return name


class Reading(Params):
    """How the file is to be read; what is `auto` is found out by looking at it."""

    sheet: str | None = Field(description="the name of a sheet, or null for the first")
    delimiter: Delimiter = Field(
        description="one of auto, comma, semicolon, tab, pipe, blanks",
    )
    encoding: Annotated[str, AfterValidator(_encoding)] = Field(
        description="auto, or the name of an encoding, such as utf-8, utf-16 or cp1252"
    )
    decimal: Decimal = Field(description="one of auto, point, comma")
    thousands: Thousands = Field(
        description="one of auto, none, comma, point, blank, apostrophe",
    )
    header: Literal["auto"] | bool = Field(description="one of auto, true, false")
    gaps: list[str] = Field(description=f"{TEXTS}, such as ['unknown'] or []")
    not_gaps: list[str] = Field(description=f"{TEXTS}, such as ['NA'] or []")


AS_THE_FILE_SAYS = Reading(
    sheet=None,
    delimiter="auto",
    encoding="auto",
    decimal="auto",
    thousands="auto",
    header="auto",
    gaps=[],
    not_gaps=[],
)

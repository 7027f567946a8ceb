"""Pieces of words, which a text is to the network: three or four characters in a row.

They are those of scikit-learn's `analyzer="char_wb"`, of words with a blank before and behind them.
"""

import sys

LENGTHS = (3, 4)


def _folded(code: int) -> str:
    """Return what a code point counts as: a small letter for a large one, a blank for a blank.

    It depends on nothing beside it, and one character becomes one.
    """
    character = chr(code)
    small = character.lower()
    if character.isspace() or code == 0:
        return " "
    return small if len(small) == 1 else character


class _Folded(dict[int, str]):
    def __missing__(self, code: int) -> str:
        self[code] = _folded(code)
        return self[code]


_FOLDED = _Folded()


def folded(text: str) -> str:
    """Return a text of as many characters, of which case and kind of blank do not matter."""
    return text.translate(_FOLDED)


def codes_of(characters: set[str]) -> dict[int, str]:
    """Return, by code point, which of some characters it counts as, where it counts as one."""
    folds = ((code, _folded(code)) for code in range(sys.maxunicode + 1))
    return {code: character for code, character in folds if character in characters}


def pieces(word: str) -> list[str]:
    """Return the pieces of a folded word, a short one's last ones being itself."""
    padded = f" {word} "
    return [padded[i : i + n] for n in LENGTHS for i in range(len(padded) - n + 1)]

"""Pieces of words, which a text is to the network: three or four characters in a row.

They are those of scikit-learn's `analyzer="char_wb"`, of words with a blank before and behind them.
"""

import sys
from functools import cache

LENGTHS = (3, 4)


def folded(text: str) -> str:
    """Return a text of as many characters, of which case and kind of blank do not matter."""
    return text.translate(_folds())


def codes_of(characters: set[str]) -> dict[int, str]:
    """Return, by code point, which of some folded characters it counts as, if it is one."""
    folds = {code: small for code, small in _folds().items() if small in characters}
    # A model file has them in this order: that of a set is another one in each process.
    return {ord(character): character for character in sorted(characters)} | folds


@cache
def _folds() -> dict[int, str]:
    """Return, by code point, what counts as another character.

    A character becomes one, whatever is beside it: not so `"İ".lower()`, and `"Σ".lower()` in a
    word. A NUL is a blank, as it is behind a text that is shorter than others.
    """
    characters = [chr(code) for code in range(sys.maxunicode + 1)]
    small = ((one, one.lower()) for one in characters if one.isupper() or one.istitle())
    found = {ord(one): other for one, other in small if len(other) == 1}
    return found | {ord(one): " " for one in ("\0", *filter(str.isspace, characters))}


def pieces(word: str) -> list[str]:
    """Return the pieces of a folded word without blanks."""
    padded = f" {word} "
    return [padded[i : i + n] for n in LENGTHS for i in range(len(padded) - n + 1)]

"""A text that a person writes and git holds."""

from pathlib import Path

from classifier.io.user_error import UserError


def read_text(path: Path, encoding: str = "utf-8") -> str:
    """Read a text; raises `UserError` where there is none."""
    try:
        return path.read_text(encoding)
    except FileNotFoundError:
        raise UserError(f"{path} is missing; restore it with: git checkout {path}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} must be UTF-8 text: {error}") from None

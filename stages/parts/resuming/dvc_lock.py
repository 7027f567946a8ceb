"""What dvc.lock already records."""

import hashlib
from pathlib import Path

import yaml
from pydantic import ValidationError

from stages.parts.params import PARAMS_FILE, Params

LOCK_FILE = Path("dvc.lock")


def records_the_stage_as_it_is(stage: str, params: Params) -> bool:
    """Say whether dvc.lock has a result of `stage` for these parameters and the files of now.

    When DVC nevertheless runs the stage, somebody asked for that: `dvc repro --force`. Folders,
    which hold code, are taken to be what they were: if not, a run starts anew that need not.
    """
    try:
        document = yaml.safe_load(LOCK_FILE.read_text(encoding="utf-8"))
        recorded = document["stages"][stage]
        recorded_params = type(params).model_validate(recorded["params"][str(PARAMS_FILE)][stage])
        files = [dep for dep in recorded["deps"] if not Path(dep["path"]).is_dir()]
        return recorded_params == params and all(_is_still(file) for file in files)
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValidationError):
        return False


def _is_still(dep: dict[str, str]) -> bool:
    with Path(dep["path"]).open("rb") as file:
        return hashlib.file_digest(file, dep["hash"]).hexdigest() == dep[dep["hash"]]

"""Errors that people cause: advice that can be followed to the letter, and a quiet end."""

import argparse
import subprocess
import sys

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from classifier.io.user_error import NeedsParameterError, UserError, user_errors_in_one_line
from classifier.io.yaml_text import from_yaml
from commands.predict import decision_of
from commands.reading_options import add_reading_options, as_option, reading_from
from tests.conftest import REPOSITORY
from tests.test_params_file import TEXTS

ARGUMENTS = TEXTS.filter(lambda text: "\0" not in text)


def said(error: UserError) -> str:
    """Return what a person reads."""
    with pytest.raises(SystemExit) as ended, user_errors_in_one_line("stage"):
        raise error
    return str(ended.value.code)


@settings(deadline=None, max_examples=50)
@given(TEXTS)
@example("two  blanks")
def test_advice_for_a_list_is_yaml(text: str) -> None:
    advised = said(NeedsParameterError("a problem", "gaps", text))
    assert advised.splitlines() == [advised]
    added = advised.removeprefix("stage: error: a problem; add ").removesuffix(" to prepare.gaps")
    for load in (from_yaml, yaml.safe_load):
        assert load(f"gaps: [{added}]") == load(f"gaps:\n- {added}") == {"gaps": [text]}


@pytest.mark.parametrize(("value", "spelled"), [(False, "false"), ("cp1252", "cp1252")])
def test_advice_for_a_value_is_yaml(value: str | bool, spelled: str) -> None:  # noqa: FBT001
    advised = said(NeedsParameterError("a problem", "header", value, "or look"))
    assert advised == f"stage: error: a problem; or look; set prepare.header: {spelled}"


@settings(deadline=None, max_examples=3)
@given(st.lists(ARGUMENTS, min_size=20, max_size=20))
def test_advice_for_a_command_can_be_pasted(texts: list[str]) -> None:
    errors = [NeedsParameterError("a problem", "gaps", text) for text in texts]
    options = [said(UserError(error.with_advice(as_option(error)))) for error in errors]
    assert [len(option.splitlines()) for option in options] == [1] * len(texts)
    pasted = " ".join(option.removeprefix("stage: error: a problem; add ") for option in options)
    # `$'...'` is of bash and zsh.
    shown = subprocess.run(
        ["bash", "-c", f"printf '%s\\0' {pasted}"], capture_output=True, check=True
    ).stdout
    parser = argparse.ArgumentParser()
    add_reading_options(parser)
    arguments = parser.parse_args(shown.decode().split("\0")[:-1])
    assert reading_from(arguments).gaps == texts


@pytest.mark.parametrize(
    ("parameter", "value", "option"),
    [
        ("gaps", "1500.5 EUR", "add --gaps='1500.5 EUR'"),
        ("header", False, "add --header=false"),
        ("ignore", "id", None),
        ("gaps", "no \0 argument", None),
    ],
)
def test_options_are_advised_where_there_are_such(
    parameter: str,
    value: str | bool,  # noqa: FBT001
    option: str | None,
) -> None:
    assert as_option(NeedsParameterError("a problem", parameter, value)) == option


def test_a_threshold_is_advised_as_a_shell_takes_it() -> None:
    with pytest.raises(UserError, match=r"such as 'very good=0\.3'; the classes are"):
        decision_of("0.3", ["good", "very good"])


def test_all_that_is_run_reports_so() -> None:
    files = [*REPOSITORY.glob("stages/*.py"), *REPOSITORY.glob("commands/*.py")]
    run = [text for file in files if "__main__" in (text := file.read_text())]
    assert len(run) >= 10
    for text in run:
        assert 'if __name__ == "__main__":\n    with user_errors_in_one_line(' in text


@pytest.mark.parametrize(
    ("option", "code", "status", "says"),
    [
        ("-u", "print('a')", 141, ""),
        # Still in the buffer when the process ends.
        ("-B", "print('a')", 141, ""),
        ("-B", "print('a'); raise UserError('wrong')", 1, "stage: error: wrong\n"),
        ("-B", "pass", 0, ""),
    ],
)
def test_it_ends_quietly_where_nobody_reads(option: str, code: str, status: int, says: str) -> None:
    imports = "from classifier.io.user_error import UserError, user_errors_in_one_line\n"
    block = f"{imports}with user_errors_in_one_line('stage'):\n    {code}"
    with subprocess.Popen(
        [sys.executable, option, "-c", block],
        cwd=REPOSITORY,
        env={"PATH": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert (process.wait(), process.stderr.read()) == (status, says)


def test_another_broken_pipe_is_no_quiet_end() -> None:
    with pytest.raises(BrokenPipeError), user_errors_in_one_line("stage"):
        raise BrokenPipeError

"""Look at a table, and write parameters for it into params.yaml."""

import argparse
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

from classifier.io.files import write_bytes
from classifier.io.later_params import read_later_params
from classifier.io.user_error import UserError, user_errors_in_one_line
from classifier.io.yaml_text import in_yaml
from classifier.starting.choice import Choice, choose, first_params, training_params
from classifier.starting.params_file import (
    path_in_params,
    refuse_uncommitted_changes,
    with_params,
    write_params,
)
from classifier.tables.encoding import PreparedTable
from classifier.tables.table_file import TableFile
from classifier.tables.table_report import summary, table_report_of
from commands.reading_options import add_reading_options, reading_from


def main() -> None:
    arguments = parse_arguments()
    if not (arguments.dry_run or arguments.force):
        refuse_uncommitted_changes()
    params = first_params(
        path_in_params(imported(arguments.table)),
        arguments.target,
        reading_from(arguments),
        arguments.group,
        arguments.order_by,
    )
    choice, table = choose(params)
    report = table_report_of(table)
    training = training_params(table.rows.n_train)
    text = with_params({"prepare": choice.params.model_dump(), "train": training}, choice.reasons)

    if arguments.report is not None:
        write_table_report(arguments.report, table.rows.file)
    if not arguments.dry_run:
        write_params(text)
    print(summary(report, table))
    print()
    print("\n".join(next_steps(choice, what_is_refused(choice, table), arguments)))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m commands.start", description=__doc__)
    parser.add_argument("table", help="CSV, Parquet, a workbook and the like, or its address")
    parser.add_argument("target", help="the column to predict; without a header: c1, c2, ...")
    parser.add_argument("--group", help="a column whose equal values stay in one part")
    parser.add_argument("--order-by", help="a column by which later rows test what earlier taught")
    parser.add_argument("--report", type=Path, help="write a page about the table, such as a.html")
    parser.add_argument("--dry-run", action="store_true", help="write no parameters")
    parser.add_argument(
        "--force", action="store_true", help="write over changes that are not committed"
    )
    add_reading_options(parser)
    return parser.parse_args()


def imported(table: str) -> Path:
    """Return the path of a table; one at an address, such as https://, DVC brings into data/.

    Raises `UserError` if it cannot, or there is a file of that name.
    """
    if "://" not in table:
        return Path(table)
    path = Path("data", Path(unquote(urlsplit(table).path)).name)
    if path.exists():
        raise UserError(f"{path} is there already; name it instead of its address {table}")
    command = [sys.executable, "-m", "dvc", "import-url", table, str(path)]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise UserError(f"dvc import-url cannot bring {table}: {done.stderr}")
    return path


def write_table_report(path: Path, file: TableFile) -> None:
    """Write skrub's report on the first rows: one page, to be opened in a browser."""
    # It takes seconds to import.
    from skrub import TableReport  # noqa: PLC0415

    table = next(file.chunks())
    page = TableReport(table, title=f"{file.name}: the first {len(table)} rows", verbose=0).html()
    write_bytes(path, page.encode())


def what_is_refused(choice: Choice, table: PreparedTable) -> list[str]:
    """Return what `prepare` would refuse of the other sections of params.yaml, in a line."""
    try:
        later = read_later_params()
        later.must_suit(table.schema.classes)
        later.must_slice(table.rows.hold_values(), choice.params.data)
    except UserError as error:
        return [f"to be put right before dvc repro: {error}"]
    return []


def next_steps(choice: Choice, refused: list[str], arguments: argparse.Namespace) -> list[str]:
    """Return what was decided, and what to do now, a line for each."""
    lines = [
        f"decided: prepare.{decision.parameter}: {in_yaml(decision.value)} ({decision.reason})"
        for decision in choice.decisions
    ] + refused
    if arguments.report is not None:
        lines.append(f"a page about the table: {arguments.report}")
    if arguments.dry_run:
        return [*lines, "nothing is written to params.yaml; without --dry-run, it would be"]
    where = Path(choice.params.data)
    if where.is_absolute():
        lines.append(f"{where} is outside this folder: other people's clones will not find it")
    return [
        *lines,
        "written: prepare and train in params.yaml; what they mean is beside them",
        "next: dvc repro",
    ]


if __name__ == "__main__":
    with user_errors_in_one_line("start"):
        main()

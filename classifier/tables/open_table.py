"""A table in a file: CSV, Parquet or a workbook, whichever the content says."""

import zipfile
from pathlib import Path

from classifier.io.user_error import UserError
from classifier.tables.csv_sniffing import sniff_csv
from classifier.tables.opening import open_text_file
from classifier.tables.parquet_file import open_parquet
from classifier.tables.prepare_params import Reading
from classifier.tables.table_file import TableFile, errors_explained
from classifier.tables.workbook import open_workbook

WORKBOOK_MEMBER = "[Content_Types].xml"

OLD_WORKBOOK = b"\xd0\xcf\x11\xe0"
"""How files of Excel before 2007 begin."""


def open_table(path: Path, name: str, reading: Reading) -> TableFile:
    """Look at the beginning of a file.

    Raises
    ------
    UserError
        If there is no table in it.

    """
    with errors_explained(name):
        with path.open("rb") as binary:
            magic = binary.read(4)
        if magic == b"PAR1":
            return open_parquet(path, name, reading)
        if magic == OLD_WORKBOOK:
            raise UserError(f"{name} is a workbook of Excel before 2007; save it as .xlsx or CSV")
        if magic == b"PK\x03\x04":
            with zipfile.ZipFile(path) as archive:
                is_workbook = WORKBOOK_MEMBER in archive.namelist()
            if is_workbook:
                return open_workbook(path, name, reading)
        return sniff_csv(open_text_file(path, name, reading.encoding), reading)

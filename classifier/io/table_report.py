"""What `prepare` says of the table: reports/table.json."""

from pydantic import BaseModel


class TableReport(BaseModel):
    """What reports/table.json holds."""

    file: str
    """How it is read."""
    rows: int
    """In the three parts."""
    rows_without_target: int
    """Left out."""
    rows_of_rare_classes: int
    """Left out."""
    copies: int
    """Rows that are equal to one further up; they are in the same part."""
    gaps: int
    """Cells, of the columns that are features."""
    columns: int
    """That are features."""
    features: int
    """Inputs of the network."""
    columns_left_out: int
    left_out: dict[str, str]
    """Columns that say nothing, with the reason; not those that parameters leave out."""
    suspicions: int
    warnings: list[str]
    """What is suspicious; `dvc metrics show` shows no lists, but how many."""

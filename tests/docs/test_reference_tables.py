"""The tables of config keys and limits in the docs."""

from __future__ import annotations

import pytest

from tools.reference_tables import TABLES, Table


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_a_table_is_up_to_date(table: Table) -> None:
    assert table.page.read_text() == table.updated(), "run `make docs`"

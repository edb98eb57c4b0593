"""Generate the tables of config keys and limits in the docs: `python -m tools.reference_tables`, run by `make docs`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from auditor.config.keys import KEYS
from auditor.core.limits import TABLE

_DOCS = Path(__file__).parents[1] / "docs"


@dataclass(frozen=True, slots=True)
class Table:
    """A generated table of a page, between two comments."""

    page: Path
    name: str
    rows: Callable[[], Iterator[str]]

    def updated(self) -> str:
        """Return the page with its table regenerated."""
        begin, end = (f"<!-- {self.name}: {mark} `make docs` -->\n" for mark in ("begin,", "end,"))
        head, found, rest = self.page.read_text().partition(begin)
        if not found or end not in rest:
            raise ValueError(f"{self.page}: the comments {begin.strip()} and {end.strip()} are missing")
        return "".join((head, begin, "\n", "\n".join(self.rows()), "\n\n", end, rest.partition(end)[2]))


def _key_rows() -> Iterator[str]:
    yield from ("| key | value | default | meaning |", "|---|---|---|---|")
    for key in KEYS:
        default = f"`{key.default}`" if key.default else ""
        yield f"| `{key.name}` | {key.takes} | {default} | {key.meaning} |"


def _limit_rows() -> Iterator[str]:
    yield from ("| limit | default | counts for | meaning |", "|---|---|---|---|")
    for limit in TABLE:
        yield f"| `{limit.name}` | {limit.shown(limit.default)} | {limit.group} | {limit.meaning} |"


TABLES = (Table(_DOCS / "configuration.md", "keys", _key_rows), Table(_DOCS / "security.md", "limits", _limit_rows))

if __name__ == "__main__":
    for table in TABLES:
        table.page.write_text(table.updated())

"""Upgrades of the tables by Alembic, which an up-to-date store does not need: it imports slowly."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection

_SCRIPTS = Path(__file__).parent / "migrations"


def upgrade_tables(connection: Connection, revision: str) -> bool:
    """Upgrade the tables to a revision; return False if theirs is unknown, because a newer program made it."""
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    try:
        command.upgrade(config, revision)
    except CommandError:
        return False
    return True

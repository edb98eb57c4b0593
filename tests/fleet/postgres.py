"""A PostgreSQL server of the tests' own."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from contextlib import closing
from functools import cached_property
from pathlib import Path

from sqlalchemy import delete

from auditor.fleet.store import schema
from auditor.fleet.store.database import SweepStore
from tests.conftest import free_port, require


def make_template(url: str) -> None:
    """Make an empty store whose copies get a key of their own when they are opened."""
    with closing(SweepStore(url)) as store:
        store.write(lambda connection: connection.execute(delete(schema.secret_key)))


class Postgres:
    """A real PostgreSQL server on loopback, which can be stopped and started."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._port = folder, free_port()
        programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
        require(bool(programs), "PostgreSQL")
        self._programs = programs[-1]
        self._user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        if os.geteuid() == 0:  # the server refuses to run as root
            shutil.chown(folder, "postgres")
        self._run("initdb", "-D", str(folder / "data"), "-A", "trust", "-U", "postgres", "--no-sync")
        self.start()

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._programs / program), *arguments]
        if os.geteuid() == 0:
            command = ["runuser", "-u", "postgres", "--", *command]
        with (self._folder / f"{program}.log").open("ab") as log:
            done = subprocess.run(command, stdout=log, stderr=log, cwd=self._folder, check=False, timeout=60)
        assert done.returncode == 0, (self._folder / f"{program}.log").read_text()

    def start(self) -> None:
        options = f"-k {self._folder} -h 127.0.0.1 -p {self._port} -c fsync=off"
        self._run(
            "pg_ctl", "-D", str(self._folder / "data"), "-w", "-l", str(self._folder / "log"), "-o", options, "start"
        )

    def stop(self) -> None:
        self._run("pg_ctl", "-D", str(self._folder / "data"), "-w", "-m", "immediate", "stop")

    def new_database(self, template: str = "template1") -> str:
        """Make a database; return its URL."""
        name = f"sweeps{os.urandom(4).hex()}"
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self._port), "-U", "postgres", "-T", template, name)
        return f"postgresql://postgres@127.0.0.1:{self._port}/{name}"

    def new_store(self) -> str:
        """Make a database with an empty store, without migrating it again; return its URL."""
        return self.new_database(self._template)

    @cached_property
    def _template(self) -> str:
        url = self.new_database()
        make_template(url)
        return url.rpartition("/")[2]

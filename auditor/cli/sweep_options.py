"""Options of `registry scan`, `registry watch` and `registry report`."""

from __future__ import annotations

from pathlib import Path

import click

from auditor.cli import options
from auditor.cli.option_types import Age, Integer, Size, Word
from auditor.cli.secret_option import SecretOption

store_option = click.option(
    "--store", cls=SecretOption, metavar="URL", envvar="IMAGE_AUDIT_STORE",
    help="Database of sweeps, an SQLAlchemy URL.  [default: SQLite in the user's data folder]",
)  # fmt: skip
report_option = click.option(
    "--report", "report_dir", type=click.Path(path_type=Path), metavar="DIR",
    help="Write the dashboard, a static web site, to a folder.",
)  # fmt: skip
sweep_options = options.combined(
    store_option,
    options.platform_option,
    options.rule_options,
    options.audit_options,
    options.cache_dir_option,
    click.option("--cache-size", type=Size(), help="Largest size of layer records in the store.  [default: 8G]"),
    click.option(
        "--no-cache", "cache", is_flag=True, callback=lambda _ctx, _option, disabled: not disabled,
        help="Ignore stored results: read every layer and audit every image again.",
    ),
    click.option(
        "--from", "references", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
        help="Sweep the references or repositories in FILE, one per line, not those that the registry lists.",
    ),
    click.option("--repos", multiple=True, metavar="GLOB", help="Only matching repositories. Repeatable."),
    click.option("--tags", multiple=True, metavar="GLOB", help="Only matching tags. Repeatable."),
    click.option(
        "--newest", type=Integer(1), metavar="N",
        help="Only N tags of each repository, those with the newest images.",
    ),
    click.option(
        "--notify", cls=SecretOption, multiple=True, metavar="URL", envvar="IMAGE_AUDIT_NOTIFY",
        help="Send new findings to an https webhook or an apprise URL. Repeatable.",
    ),
    report_option,
    click.option(
        "--keep", type=Age(), metavar="AGE", help="Remove sweeps older than AGE, such as 90d.  [default: keep all]"
    ),
    click.option(
        "--ca", type=click.Path(path_type=Path, dir_okay=False, exists=True), metavar="FILE",
        help="Trust the certificates in FILE instead of the system's.",
    ),
    click.option(
        "--rate", type=click.FloatRange(0, min_open=True), metavar="N", help="Send at most N requests per second."
    ),
    click.option(
        "--parallel", type=Integer(1, 64), default=8, show_default=True, metavar="N",
        help="Number of concurrent requests and layer downloads.",
    ),
    click.option(
        "--engine", type=Word(["local", "dask"]), default="local", show_default=True,
        help="Read layers on this machine, or on the workers of a Dask cluster.",
    ),
    click.option("--scheduler", metavar="ADDRESS", help="Scheduler of the Dask cluster, such as tcp://HOST:8786."),
    click.option("--attest", is_flag=True, help="Attach a signed statement to each clean image. Needs --key."),
    click.option(
        "--key", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
        help="Private key of --attest, as for `image-audit attest`.",
    ),
)  # fmt: skip

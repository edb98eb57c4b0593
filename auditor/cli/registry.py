"""`image-audit registry`: its commands and options. The work is in `sweeps`, which needs the extra `fleet`."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import click

from auditor.cli import options, sweep_options
from auditor.cli.examples import examples
from auditor.core.command_options import SweepOptions, WatchOptions

_EXTRA = ("sqlalchemy", "alembic", "cachetools", "apprise", "cronsim", "distributed", "prometheus_client")


@examples("image-audit registry scan registry.example.com --report site")
@click.group()
def command() -> None:
    """Audit a whole registry, once or on a schedule. Reports new and gone findings, and secrets shared by images."""


@examples(
    "image-audit registry scan registry.example.com",
    "image-audit registry scan registry.example.com/team --newest 5 --report site",
)
@command.command()
@click.argument("registry", required=False, metavar="HOST[/PREFIX]")
@options.table_or_json_option
@sweep_options.sweep_options
@options.merged(SweepOptions)
def scan(registry: str | None, form: str, options: SweepOptions) -> int:
    """Audit every image of a registry, each layer once, and report the changes since the last run.

    HOST[/PREFIX] is a registry, or its repositories below a prefix. Without a catalog, use --from FILE; HOST is then
    optional. One run over the registry is a sweep. Later sweeps read only tags, manifests and new layers.
    """
    _require_extra()
    # The extra is optional.
    from auditor.cli import sweeps

    return sweeps.scan(registry, form, options)


@examples('image-audit registry watch registry.example.com --cron "0 */6 * * *"')
@command.command()
@click.argument("registry", required=False, metavar="HOST[/PREFIX]")
@click.option(
    "--cron", required=True, metavar="EXPRESSION", help="Schedule, such as '0 */6 * * *' for every six hours."
)
@click.option(
    "--timezone", default="UTC", metavar="ZONE", show_default=True, help="Time zone of --cron, such as Europe/Berlin."
)
@click.option(
    "--jitter", type=click.IntRange(0, 86400), default=0, metavar="SECONDS",
    help="Delay each sweep by a random time of at most SECONDS.",
)  # fmt: skip
@click.option("--now", is_flag=True, help="Run the first sweep at once.")
@click.option(
    "--listen", default="127.0.0.1:9464", metavar="HOST:PORT", show_default=True,
    help="Address of /healthz and /metrics.",
)  # fmt: skip
@options.table_or_json_option
@sweep_options.sweep_options
@options.loaded(WatchOptions)
def watch(registry: str | None, form: str, load: Callable[[], WatchOptions]) -> int:
    """Audit a registry on a schedule, until SIGTERM.

    A sweep is one run over the registry; each reads the config file, the rules and the baseline again. Standard output
    has the output of `registry scan`, standard error one JSON object per log line.
    """
    _require_extra()
    # The extra is optional.
    from auditor.cli import sweeps

    return sweeps.watch(registry, form, load)


@examples("image-audit registry report registry.example.com --report site")
@command.command()
@click.argument("registry", required=False, metavar="HOST[/PREFIX]")
@options.table_or_json_option
@click.option("-q", "--quiet", is_flag=True, help="No table.")
@sweep_options.report_option
@sweep_options.store_option
def report(registry: str | None, form: str, report_dir: Path | None, store: str | None, *, quiet: bool) -> int:
    """Show the last sweep from the store, and write its dashboard, without a request to the registry.

    A filtered sweep (--repos, --tags, --newest, --platform, --from) is shown only if the store has no complete one.
    HOST[/PREFIX] is the name given to the sweep; it is optional if the store has one registry.
    """
    _require_extra()
    # The extra is optional.
    from auditor.cli import sweeps

    return sweeps.report(registry, form, report_dir, store, quiet=quiet)


def _require_extra() -> None:
    """Raise UsageError unless the extra `fleet` is installed."""
    missing = [name for name in _EXTRA if find_spec(name) is None]
    if missing:
        raise click.UsageError(
            f"`registry` needs {', '.join(missing)} of the extra `fleet`. Run pip install 'image-audit[fleet]'"
        )

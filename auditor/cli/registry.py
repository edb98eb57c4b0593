"""`image-audit registry`: its commands and options. The work is in `sweeps`, which needs the extra `fleet`."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from importlib.util import find_spec

import click

from auditor.cli import options, sweep_options
from auditor.cli.examples import examples
from auditor.cli.option_types import Date, Integer
from auditor.core.command_options import SweepOptions, WatchOptions
from auditor.core.version import install_hint

_EXTRA = ("sqlalchemy", "alembic", "cachetools", "apprise", "cronsim", "distributed", "nacl", "prometheus_client")


@examples("image-audit registry scan registry.example.com --report site")
@click.group()
def command() -> None:
    """Audit a whole registry, once or on a schedule. Reports new and gone findings, and secrets shared by images."""


@examples(
    "image-audit registry scan registry.example.com",
    "image-audit registry scan registry.example.com/team --newest 5 --report site",
)
@command.command()
@click.argument("registry", required=False, metavar="[HOST[/PREFIX]]")
@options.table_or_json_option
@sweep_options.sweep_options
@options.merged(SweepOptions)
def scan(registry: str | None, form: str, options: SweepOptions) -> int:
    """Audit every image of a registry, each layer once, and report the changes since the last run.

    HOST[/PREFIX] is a registry, or its repositories below a prefix. If it does not list them, use --from FILE; HOST is
    then optional. One run over the registry is a sweep. Later sweeps read only tags, manifests and new layers.
    """
    _require_extra()
    # The extra is optional.
    from auditor.cli import sweeps

    return sweeps.scan(registry, form, options)


@examples('image-audit registry watch registry.example.com --cron "0 */6 * * *"')
@command.command()
@click.argument("registry", required=False, metavar="[HOST[/PREFIX]]")
@click.option(
    "--cron", required=True, metavar="EXPRESSION", help="Schedule, such as '0 */6 * * *' for every six hours."
)
@click.option(
    "--timezone", default="UTC", metavar="ZONE", show_default=True, help="Time zone of --cron, such as Europe/Berlin."
)
@click.option(
    "--jitter", type=Integer(0, 86400), default=0, metavar="SECONDS",
    help="Delay each sweep by a random time of at most SECONDS.",
)  # fmt: skip
@click.option("--now", is_flag=True, help="Run the first sweep at once.")
@click.option(
    "--listen", default="127.0.0.1:9464", metavar="HOST:PORT", show_default=True,
    help="Address of /healthz, /livez and /metrics.",
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
    from auditor.cli import watches

    return watches.watch(registry, form, load)


@examples("image-audit registry report registry.example.com --report site")
@command.command()
@click.argument("registry", required=False, metavar="[HOST[/PREFIX]]")
@options.table_or_json_option
@click.option("-q", "--quiet", is_flag=True, help="No table.")
@options.config_option
@sweep_options.report_option
@sweep_options.store_option
@options.merged(SweepOptions)
def report(registry: str | None, form: str, options: SweepOptions) -> int:
    """Show the last sweep from the store, and write its dashboard, without a request to the registry.

    A filtered sweep (--repos, --tags, --newest, --platform, --from) is shown only if the store has no complete one.
    HOST[/PREFIX] is the name given to the sweep; it is optional if the store has one registry.
    """
    _require_extra()
    # The extra is optional.
    from auditor.cli import sweeps

    return sweeps.report(registry, form, options)


@examples(
    "image-audit registry serve",
    "image-audit registry serve registry.example.com --listen 127.0.0.1:8080",
)
@command.command()
@click.argument("registry", required=False, metavar="[HOST[/PREFIX]]")
@click.option(
    "--listen", default="127.0.0.1:8080", metavar="HOST:PORT", show_default=True,
    help="Address of the dashboard, /healthz, /livez and /readyz.",
)  # fmt: skip
@sweep_options.report_option
@options.config_option
@sweep_options.store_option
@options.loaded(SweepOptions)
def serve(registry: str | None, listen: str, load: Callable[[], SweepOptions]) -> int:
    """Serve the dashboard of the last sweep in the store to browsers, until SIGTERM.

    It is written again after each sweep and acknowledgement, to the folder of --report or to a temporary one. There is
    no login: restrict access with a proxy. Nothing can be changed through it.
    """
    _require_extra()
    # The extra is optional.
    from auditor.cli.serve import serve as run

    return run(registry, listen, load)


@examples(
    "image-audit registry where 4f0c2d19a6b3",
    "pass show deploy-token | image-audit registry where --stdin",
)
@command.command()
@click.argument("secret_id", required=False, metavar="[SECRET_ID]")
@click.option("--stdin", "from_stdin", is_flag=True, help="Read the secret itself from standard input.")
@options.table_or_json_option
@options.config_option
@sweep_options.store_option
@options.merged(SweepOptions)
def where(secret_id: str | None, form: str, options: SweepOptions, *, from_stdin: bool) -> int:
    """List every repository, tag and digest that holds a secret, those that can be pulled first.

    SECRET_ID is the id of a secret or finding of a sweep; the first digits suffice. A secret on standard input is
    neither stored nor shown. Exit code 2 if the store does not have it.
    """
    _require_extra()
    # The extra is optional.
    from auditor.cli import remediation

    return remediation.where(secret_id, form, options, from_stdin=from_stdin)


@examples('image-audit registry ack 4f0c2d19a6b3 --reason "test key" --until 2027-03-31')
@command.command()
@click.argument("secret_id", metavar="SECRET_ID")
@click.option("--reason", metavar="TEXT", help="Reason, shown wherever the secret is shown.")
@click.option("--until", type=Date(), metavar="DATE", help="Last day, such as 2027-03-31.  [default: no end]")
@click.option("--by", "author", metavar="NAME", help="Name of the person.  [default: the user of this machine]")
@click.option("--remove", is_flag=True, help="Remove the acknowledgement instead.")
@sweep_options.store_option
def ack(
    secret_id: str,
    reason: str | None,
    until: datetime.date | None,
    author: str | None,
    store: str | None,
    *,
    remove: bool,
) -> int:
    """Acknowledge a secret: it no longer counts for --fail-on, and causes no alerts.

    This ends after DATE, and as soon as a repository of another owner holds the secret.
    """
    _require_extra()
    # The extra is optional.
    from auditor.cli import remediation

    return remediation.acknowledge(secret_id, reason, until, author, store, remove=remove)


@examples("image-audit registry plan registry.example.com", "image-audit registry plan --owner payments --format json")
@command.command()
@click.argument("registry", required=False, metavar="[HOST[/PREFIX]]")
@click.option("--owner", metavar="TEAM", help="Only the repositories of this team.")
@options.table_or_json_option
@options.config_option
@sweep_options.store_option
@options.merged(SweepOptions)
def plan(registry: str | None, owner: str | None, form: str, options: SweepOptions) -> int:
    """Print the work: secrets to revoke, tags to rebuild, digests to delete.

    It is based on the last sweep in the store; no request is sent. Acknowledged secrets need no work.
    """
    _require_extra()
    # The extra is optional.
    from auditor.cli import remediation

    return remediation.plan(registry, owner, form, options)


def _require_extra() -> None:
    """Raise UsageError unless the extra `fleet` is installed."""
    missing = [name for name in _EXTRA if find_spec(name) is None]
    if missing:
        raise click.UsageError(f"`registry` needs {', '.join(missing)} of the extra `fleet`. {install_hint('fleet')}")

"""`image-audit attest`: its options. The work is in `attestations`, which needs the extra `attest`."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import click

from auditor.cli import completion, options
from auditor.cli.examples import examples
from auditor.cli.option_types import Word
from auditor.core.errors import UsageError
from auditor.core.finding import Severity
from auditor.core.options import AuditOptions
from auditor.core.version import install_hint

_EXTRA = {"cryptography": "cryptography", "nacl": "pynacl"}


def require_extra(what: str) -> None:
    """Raise UsageError unless the extra `attest` is installed."""
    missing = [package for module, package in _EXTRA.items() if find_spec(module) is None]
    if missing:
        raise UsageError(f"{what} needs {', '.join(missing)} of the extra `attest`. {install_hint('attest')}")


@examples(
    "image-audit attest docker://registry.example.com/app:1 --push --key key.pem",
    "image-audit attest app.oci.tar -o app.att --key key.pem",
    "image-audit attest docker://registry.example.com/app --verify --key key.pub",
)
@click.command()
@click.argument("target", shell_complete=completion.targets)
@click.option(
    "--key", required=True, type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="Private key in PEM, ECDSA P-256 or Ed25519, or a key of cosign; with --verify the public key. "
    "IMAGE_AUDIT_KEY_PASSPHRASE has the passphrase of an encrypted key.",
)  # fmt: skip
@click.option(
    "-o",
    "output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the attestation to FILE.",
)
@click.option("--push", is_flag=True, help="Attach the attestation to the image in its registry.")
@click.option("--verify", "check", is_flag=True, help="Verify an attestation, without an audit.")
@click.option(
    "--attestation", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="With --verify: read the attestation from FILE, not from the registry.",
)  # fmt: skip
@options.table_or_json_option
@click.option(
    "--fail-on", type=Word([severity.value for severity in Severity]),
    help="Exit with 1 on a secret of this severity or above.  [default: high]",
)  # fmt: skip
@options.min_confidence_option
@options.exclude_path_option
@options.exclude_rule_option
@options.rules_option
@options.config_option
@options.baseline_option
@options.jobs_option
@options.memory_option
@options.limit_option
@options.quiet_option
@options.verbose_option
@options.cache_options
@options.cache_size_option
@options.platform_option
@options.merged(AuditOptions)
def command(
    target: str,
    key: Path,
    output: Path | None,
    attestation: Path | None,
    form: str,
    options: AuditOptions,
    *,
    push: bool,
    check: bool,
) -> int:
    """Audit an image and sign a statement of the result, or verify a signed statement.

    The attestation is an in-toto Statement in a DSSE envelope: digests of the image, rules, verdict, counts, times. Its
    verdict is clean only if every part was read and no secret is at or above --fail-on.
    """
    require_extra("`attest`")
    # The extra is optional.
    from auditor.cli import attestations

    if options.fail_on is None:
        raise click.UsageError("the config file has `fail_on: never`: every image would be clean. Add --fail-on high")
    if check:
        if output or push:
            raise click.UsageError("--verify makes no attestation: remove -o and --push")
        return attestations.verify(target, key, attestation, form, options)
    if attestation:
        raise click.UsageError("--attestation needs --verify")
    if bool(output) == push:
        raise click.UsageError("use one of -o FILE and --push")
    return attestations.attest(target, key, output, form, options)

"""Write the archive keys of distributions: `python -m tools.archive_keys`.

They are those of the Debian packages debian-archive-keyring and ubuntu-keyring, without keys that are revoked or whose
own signatures are too weak to count.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from pysequoia import Cert

_KEYS = Path(__file__).parents[1] / "auditor" / "published" / "keys"
_KEYRINGS = {"Debian": "debian-archive-keyring.gpg", "Ubuntu": "ubuntu-archive-keyring.gpg"}


def _names(certificate: Cert) -> list[str]:
    """Return the user ids of a certificate; none if it does not count."""
    with suppress(RuntimeError):
        return [] if certificate.is_revoked else [str(user) for user in certificate.user_ids]
    return []


if __name__ == "__main__":
    for publisher, keyring in _KEYRINGS.items():
        certificates = Cert.split_file(f"/usr/share/keyrings/{keyring}")
        kept = [one for one in certificates if any("Archive" in name or "Release" in name for name in _names(one))]
        (_KEYS / f"{publisher}.asc").write_text("".join(map(str, kept)))

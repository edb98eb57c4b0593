"""Google Artifact Registry and gcr.io: repositories below a project, by the `child` lists of `tags/list`.

Source: go-containerregistry, package google: `tags/list` of a name also returns its children. The API of Artifact
Registry would need an access token; this needs the login of the registry only.
"""

from __future__ import annotations

from collections.abc import Iterator

from auditor.core.errors import Damaged, UsageError
from auditor.core.limits import limit_note
from auditor.registry.client import Client
from auditor.registry.repository import children


def repositories(client: Client, prefix: str) -> Iterator[str]:
    """Yield the prefix and all names below it. Raises UsageError without a prefix, NotFound, Unauthorized."""
    if not prefix:
        raise UsageError(
            f"{client.host}: Google lists the repositories of one project. Name it as {client.host}/PROJECT/REPOSITORY "
            "(gcr.io: HOST/PROJECT), or list repositories in a file and use --from FILE."
        )
    waiting, count = [prefix], 0
    while waiting:
        name = waiting.pop()
        found, has_tags = children(client, name)
        count += 1 + len(found)
        if count > client.limits.registry_names:
            raise Damaged(f"{client.host}: too many names below {prefix} {limit_note('registry-names')}")
        waiting += [f"{name}/{child}" for child in found if "/" not in child]
        if has_tags:
            yield name

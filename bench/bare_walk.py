"""A bare walk over the tags of a registry: `python -m bench.bare_walk HOST`.

It requests the catalog, every tag list and the digest of every tag, one after the other, with the HTTP library of the
sweep, and does nothing else: what any command that asks for all tags takes at least.
"""

from __future__ import annotations

import sys

import requests

from auditor.codec.descriptors import ACCEPT


def walk(address: str) -> int:
    """Return the number of tags."""
    count = 0
    with requests.Session() as session:
        session.trust_env = False
        session.headers["Accept"] = ACCEPT
        path = "/v2/_catalog"
        while path:
            page = session.get(f"http://{address}{path}")
            for name in page.json()["repositories"]:
                for tag in session.get(f"http://{address}/v2/{name}/tags/list?n=1000").json()["tags"]:
                    answer = session.head(f"http://{address}/v2/{name}/manifests/{tag}")
                    assert answer.headers["Docker-Content-Digest"]
                    count += 1
            path = page.links.get("next", {}).get("url", "")
    return count


if __name__ == "__main__":
    print(walk(sys.argv[1]), "tags")

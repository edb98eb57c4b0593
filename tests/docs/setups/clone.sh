# A clone of this repository, in which the reader stands.
root=$(cd "$(dirname "$0")/../../.." && pwd)
tar -C "$root" --exclude __pycache__ -c auditor docs man reports rules tests tools pyproject.toml | tar -x
git init -q

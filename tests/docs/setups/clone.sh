# A clone of this repository, in which the reader stands, with its compiled modules.
root=$(cd "$(dirname "$0")/../../.." && pwd)
tar -C "$root" -c auditor docs man reports rules tests tools pyproject.toml | tar -x
git init -q

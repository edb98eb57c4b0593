"""The whole context copied before a step that needs little of it."""

from __future__ import annotations

import pytest

from tests.dockerfile.conftest import Check

INSTALLS = [
    "npm ci",
    "npm install",
    "yarn install --frozen-lockfile",
    "yarn",
    "pnpm install",
    "pip install -r requirements.txt",
    "pip install --no-cache-dir -r requirements.txt",
    "python3 -m pip install -r requirements.txt",
    "poetry install --no-root",
    "uv sync --frozen",
    "uv pip install -r requirements.txt",
    "pipenv install --deploy",
    "go mod download",
    "bundle install",
    "composer install --no-dev",
    "cargo fetch",
    "dotnet restore",
    "mix deps.get",
    "apt-get update && apt-get install -y git && rm -rf /var/lib/apt/lists/*",
    "apk add --no-cache git",
    "pip install flask",
    "cd app && npm ci",
    "mvn -B package",
    "./gradlew build",
    "cargo build --release",
]


@pytest.mark.parametrize("command", INSTALLS)
@pytest.mark.parametrize("copy", ["COPY . .", "ADD . /app", 'COPY [".", "."]'])
def test_the_copying_line_is_told_with_what_loses_its_cache(check: Check, command: str, copy: str) -> None:
    (found,) = check(f"FROM base\nWORKDIR /app\n{copy}\nENV A=1\nRUN {command}\nRUN make\n")
    assert (found.line, found.rule) == (3, "cache-order")
    assert "line 5" in found.message and found.severity in ("medium", "low")


@pytest.mark.parametrize(
    "lines",
    [
        ["COPY package*.json ./", "RUN npm ci", "COPY . .", "RUN npm run build"],
        ["COPY package.json .", "RUN npm install", "COPY . .", "RUN npm ci"],
        ["COPY . .", "RUN npm run build"],
        ["COPY . .", "RUN go build -o /app ./..."],
        ["COPY . .", "RUN pip install --no-deps ."],
        ["COPY . .", "RUN make"],
        ["COPY src src", "RUN npm ci"],
        ["COPY --from=deps . .", "RUN npm ci"],
        ["RUN apk add --no-cache git", "COPY . ."],
        ["COPY . .", "RUN --mount=type=cache,target=/root/.npm npm ci"],
        ["RUN --mount=type=bind,target=. npm ci", "COPY . ."],
        ["COPY . .", 'CMD ["npm", "install"]'],
        ["ONBUILD COPY . .", "RUN npm ci"],
        ["COPY go.mod go.sum ./", "RUN go mod download", "COPY . .", "RUN go mod vendor && go build"],
    ],
)
def test_well_ordered(check: Check, lines: list[str]) -> None:
    assert check("\n".join(("FROM base", "WORKDIR /app", *lines)) + "\n") == ()


def test_all_late_steps_are_one_finding_with_advice_for_each(check: Check) -> None:
    (found,) = check(
        "FROM base\nCOPY . .\nRUN apk add --no-cache git\nRUN npm ci\nRUN pip install -r requirements.txt\n"
    )
    assert "line 3 (apk add --no-cache), line 4 (npm ci), line 5 (pip install -r)" in found.message
    assert "Copy package.json package-lock.json requirements.txt and install, then copy the rest" in found.advice
    assert "move line 3 above the COPY" in found.advice


def test_what_a_lower_stage_installed_counts(check: Check) -> None:
    assert check("FROM n AS deps\nCOPY package.json .\nRUN npm ci\nFROM deps\nCOPY . .\nRUN npm ci\n") == ()


def test_a_discarded_stage_is_built_too(check: Check) -> None:
    assert check.rules("FROM n AS b\nCOPY . .\nRUN npm ci\nFROM s\nCOPY --from=b /o /\n") == [(2, "cache-order")]

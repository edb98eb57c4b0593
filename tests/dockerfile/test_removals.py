"""What is added in one instruction and removed in a later one."""

from __future__ import annotations

import pytest

from auditor.dockerfile.parser import parse
from auditor.rulebook.examples import fill
from tests.dockerfile.conftest import Check, env_file
from tests.images import token


def text(*lines: str) -> str:
    return "\n".join(("FROM debian", *lines)) + "\n"


@pytest.mark.parametrize(
    ("add", "remove"),
    [
        ("COPY notes.txt /notes.txt", "RUN rm /notes.txt"),
        ("COPY notes.txt /app/", "RUN rm -f /tmp/x /app/notes.txt && true"),
        ("COPY a b /app/", "RUN rm -rf /app"),
        ("COPY notes.txt /app/notes.txt", "RUN cd /app && rm *.txt"),
        ("COPY notes.txt /app/notes.txt", "WORKDIR /app\nRUN rm notes.txt"),
        ("WORKDIR /srv\nWORKDIR app\nCOPY notes.txt .", "RUN rm /srv/app/notes.txt"),
        ("ENV D=/opt/x\nCOPY notes.txt $D/", "RUN rm ${D}/notes.txt"),
        ("RUN echo hi > /hello", "RUN rm /hello"),
        ("RUN echo hi | tee /hello", 'RUN ["rm", "/hello"]'),
        ("RUN curl -fsSLo /x.sh https://example.org/x.sh", "RUN rm /x.sh"),
        ("RUN cd /opt && wget https://example.org/x.sh", "RUN unlink /opt/x.sh"),
        ("RUN cp /etc/hosts /old", "RUN if [ -f /old ]; then rm /old; fi"),
        ("COPY <<EOF /x.conf\na\nEOF", "RUN find /x.conf -delete"),
        ("RUN <<EOF\ntouch /a\nEOF", "RUN <<EOF\nset -e\nrm /a\nEOF"),
    ],
)
def test_removed_later(check: Check, add: str, remove: str) -> None:
    dockerfile = text(add, remove)
    start = parse(dockerfile).instructions[-1].line
    found = check(dockerfile)
    assert [(p.line, p.rule, p.severity) for p in found] == [(start, "deleted-later", "medium")], found


def test_moved_later_is_low(check: Check) -> None:
    (found,) = check(text("COPY notes.txt /tmp/", "RUN mv /tmp/notes.txt /etc/"))
    assert (found.line, found.rule, found.severity) == (3, "deleted-later", "low")


@pytest.mark.parametrize(
    ("add", "remove"),
    [
        ("COPY id_rsa /root/.ssh/id_rsa", "RUN git clone x && rm /root/.ssh/id_rsa"),
        ("COPY .npmrc .", "RUN npm ci && rm -f .npmrc"),
        ("RUN echo {token} > /secret.txt", "RUN rm /secret.txt"),
        ("RUN ssh-keygen -f /root/.ssh/id_rsa -N ''", "RUN rm -r /root/.ssh"),
        ("COPY <<EOF /secret.txt\n{token}\nEOF", "RUN rm /secret.txt"),
    ],
)
def test_a_secret_that_is_removed_later_is_high(check: Check, add: str, remove: str) -> None:
    found = check(text(add.replace("{token}", token(5)), remove))
    (late,) = [problem for problem in found if problem.rule == "deleted-later"]
    assert late.severity == "high" and "recover it" in late.advice


@pytest.mark.parametrize(
    "lines",
    [
        ["RUN curl -o /x.tar https://example.org/x.tar && tar xf /x.tar && rm /x.tar"],
        ["RUN touch /a && rm /a", "RUN rm -f /b"],
        ["COPY notes.txt /notes.txt", "RUN rm -f /notes.text /tmp/*"],
        ["COPY . /app", "RUN npm run build && rm -rf /app/dist/tmp"],
        ["RUN mkdir /x", "RUN rmdir /x"],
        ["COPY a /a", "CMD rm /a"],
        ["COPY --from=build /out/app /usr/bin/app", "RUN rm -rf /usr/share/doc"],
        [
            "RUN --mount=type=cache,target=/w curl -o /w/x https://example.org/x",
            "RUN --mount=type=cache,target=/w rm -r /w",
        ],
        ["RUN --mount=type=bind,source=.,target=/src make -C /src", "RUN rm -rf /tmp/build"],
        ["RUN echo x > /dev/null 2>&1", "RUN rm -rf /dev/null"],
        ["ONBUILD COPY a /a", "RUN rm -f /a"],
    ],
)
def test_what_no_lower_layer_holds_is_fine(check: Check, lines: list[str]) -> None:
    assert check(text(*lines)) == ()


def test_a_file_of_a_copied_folder_counts_where_it_is_there(check: Check) -> None:
    lines = text("COPY src /app", "RUN rm -rf /app/tests /app/build")
    (found,) = check(lines, {"src/tests/a.py": "", "src/main.py": ""})
    assert "/app/tests, which line 2 copied" in found.message


def test_removed_in_a_stage_on_top_counts_and_in_a_discarded_one_does_not(check: Check) -> None:
    assert check.rules("FROM a AS b\nCOPY x /x\nFROM b\nRUN rm /x\n") == [(4, "deleted-later")]
    assert check.rules("FROM a AS b\nCOPY x /x\nRUN rm /x\nFROM c\nCOPY --from=b /y /\n") == []
    (found,) = [p for p in check("FROM a AS b\nCOPY id_rsa /x/\nRUN rm /x/id_rsa\nFROM c\n") if p.line == 3]
    assert found.severity == "medium" and "build cache" in found.message


@pytest.mark.parametrize(
    ("first", "later"),
    [
        ("RUN apt-get update && apt-get install -y git", "RUN rm -rf /var/lib/apt/lists/*"),
        ("RUN apt-get update && apt-get install -y git && rm -rf /var/lib/apt/lists/*", "RUN apt-get clean"),
        ("RUN apt-get install -y gcc=4:12 && apt-get clean", "RUN apt-get purge -y --auto-remove gcc"),
        ("RUN apk add --no-cache --virtual .build gcc musl-dev", "RUN apk del .build"),
        ("RUN apk add --no-cache gcc", "RUN make && apk del gcc"),
        ("RUN dnf install -y git", "RUN dnf clean all"),
        ("RUN pip install flask", "RUN rm -rf /root/.cache"),
        ("RUN npm ci", "RUN npm cache clean --force"),
        ("RUN curl -LO https://example.org/x.tar.gz", "RUN tar xf /x.tar.gz && rm x.tar.gz"),
        ("ADD https://example.org/x.zip /tmp/", "RUN unzip /tmp/x.zip && rm /tmp/x.zip"),
        ("COPY vendor.tar.gz /tmp/", "RUN tar xf /tmp/vendor.tar.gz && rm -rf /tmp/*"),
        ("RUN git clone https://github.com/acme/app.git /src", "RUN make -C /src && rm -rf /src"),
        ("RUN conda install -y numpy", "RUN conda clean -afy"),
        ("RUN yarn install", "RUN yarn cache clean"),
        ("RUN npm ci && npm run build", "RUN rm -rf node_modules"),
        ("RUN dd if=/dev/zero of=/big bs=1M count=100", "RUN rm /big"),
        ("RUN fallocate -l 100M /big", "RUN rm /big"),
        ("RUN mkdir /src && curl https://example.org/x | tar xz -C /src && make -C /src", "RUN rm -r /src"),
    ],
)
def test_large_and_cleared_later(check: Check, first: str, later: str) -> None:
    found = check(text(first, later))
    assert [(p.line, p.rule, p.severity) for p in found] == [(3, "large-then-deleted", "medium")], found
    assert "line 2" in found[0].message


@pytest.mark.parametrize(
    "lines",
    [
        ["RUN apt-get update && rm -rf /var/lib/apt/lists/*", "RUN rm -rf /var/lib/apt/lists/*"],
        ["RUN apt-get update && apt-get install -y a", "RUN apt-get update && rm -rf /var/lib/apt/lists/*"],
        ["RUN --mount=type=cache,target=/var/lib/apt/lists apt-get update", "RUN rm -rf /var/lib/apt/lists/*"],
        ["RUN apk add --no-cache git", "RUN rm -rf /var/cache/apk/*"],
        ["RUN apk add --no-cache --virtual .b gcc && make && apk del .b"],
        ["RUN apt-get purge -y nano"],
        ["RUN pip install --no-cache-dir flask", "RUN rm -rf /root/.cache"],
    ],
)
def test_cleared_at_once_or_never_filled_is_fine(check: Check, lines: list[str]) -> None:
    assert check(text(*lines)) == ()


def test_a_large_file_of_the_context_is_weighed(check: Check) -> None:
    (found,) = check(text("COPY model.data /m", "RUN rm /m"), {"model.data": "x" * 3_000_000})
    assert found.rule == "large-then-deleted" and "3 MB" in found.message


def test_the_example_of_the_readme_is_told_whole(check: Check) -> None:
    secret = fill("ghp_{base62:30}{crc32}", 9)
    found = check(text(f"RUN echo {secret} > /secret.txt", "RUN rm /secret.txt"), {"x": env_file()})
    assert [(p.line, p.rule) for p in found] == [(2, "secret-in-run"), (3, "deleted-later")]

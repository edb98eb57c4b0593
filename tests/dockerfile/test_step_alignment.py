"""An image's history laid beside its Dockerfile: real builds of both builders, and histories as others write them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from auditor.core.image_config import HistoryStep
from auditor.core.limits import DEFAULT
from auditor.dockerfile.parser import parse
from auditor.dockerfile.step_alignment import instruction_lines
from auditor.images.resolve import open_target
from tests.conftest import Cli, docker, require
from tests.dockerfile.conftest import write
from tests.images import image, layer, step, token

DOCKERFILE = """\
FROM scratch AS base
COPY busybox /bin/busybox
COPY busybox /bin/sh
ARG V=1
ENV A=1 \\
    B="two words"
FROM base AS other
RUN echo other > /o
FROM base
ARG V=2
LABEL org.x="y z"
WORKDIR /app
ENV C=$A/c
COPY a.txt b.txt ./
ADD a.txt /srv/
RUN echo "hello $V" > /app/x && \\
    # a comment
    echo two \\
    > /app/y
SHELL ["/bin/sh", "-ec"]
RUN echo three > z
RUN ["/bin/busybox", "touch", "/q"]
COPY --from=other /o /o
EXPOSE 80
USER 1:1
VOLUME /data
HEALTHCHECK --interval=5s CMD echo ok
STOPSIGNAL SIGTERM
ENTRYPOINT ["/bin/sh"]
CMD ["-c", "echo"]
"""
LINES = [2, 3, 4, 5, 10, 11, 12, 13, 14, 15, 16, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30]
HEREDOCS = (
    "RUN <<EOF\necho {secret} > /one\necho two\nEOF\n"
    "RUN cat <<EOF > /three\n{secret}\nEOF\nCOPY <<EOF /four\nfour {secret}\nEOF\n"
)


def built(folder: Path, text: str, builder: str, *options: str) -> list[HistoryStep]:
    """Build an image for real, and return its history."""
    shutil.copy("/bin/busybox", folder / "busybox")
    write(folder, {"Dockerfile": text, "a.txt": "a", "b.txt": "b"})
    name = f"image-audit-test-history-{builder}"
    environment = {**os.environ, "DOCKER_BUILDKIT": "0" if builder == "classic" else "1"}
    command = ["docker", "build", "-q", "--network", "none", "-t", name, *options, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    try:
        docker("save", "-o", str(folder / "saved.tar"), name)
    finally:
        docker("rmi", "-f", name)
    return list(open_target(str(folder / "saved.tar"), DEFAULT)[0].config.history)


@pytest.mark.engine
@pytest.mark.parametrize("builder", ["classic", "buildkit"])
@pytest.mark.usefixtures("engine")
class TestRealBuilds:
    def test_every_step_has_the_line_of_its_instruction(self, tmp_path: Path, builder: str) -> None:
        require(shutil.which("busybox") is not None, "busybox")
        history = built(tmp_path, DOCKERFILE, builder, "--build-arg", "V=9 8")
        assert list(instruction_lines(parse(DOCKERFILE), history)) == LINES

    def test_here_documents(self, tmp_path: Path, builder: str) -> None:
        if builder == "classic":  # which knows none
            return
        text = "FROM scratch\nCOPY busybox /bin/cat\nCOPY busybox /bin/sh\n" + HEREDOCS.format(secret=token(4))
        history = built(tmp_path, text, builder)
        assert list(instruction_lines(parse(text), history)) == [2, 3, 4, 8, 11]


def steps(*created_by: str) -> list[HistoryStep]:
    return [HistoryStep(None, text, "", empty=False) for text in created_by]


BASE = ("/bin/sh -c #(nop) ADD file:0123 in / ", '/bin/sh -c #(nop)  CMD ["bash"]')


def test_the_steps_of_the_base_image_have_no_line() -> None:
    dockerfile = parse('FROM debian\nCOPY a /a\nRUN x y z\nCMD ["bash"]\n')
    history = steps(*BASE, "COPY a /a # buildkit", "RUN /bin/sh -c x y z # buildkit", 'CMD ["bash"]')
    assert instruction_lines(dockerfile, history) == (None, None, 2, 3, 4)


def test_equal_instructions_are_told_apart_by_their_order() -> None:
    dockerfile = parse("FROM debian\nRUN make\nCOPY a /a\nRUN make\n")
    history = steps(*BASE, "RUN /bin/sh -c make # buildkit", "COPY a /a # buildkit", "RUN /bin/sh -c make # buildkit")
    assert instruction_lines(dockerfile, history)[2:] == (2, 3, 4)


def test_triggers_of_the_base_and_steps_added_after_the_build_are_passed_over() -> None:
    dockerfile = parse("FROM node\nRUN make all\nRUN make test\n")
    history = steps(
        *BASE, "/bin/sh -c #(nop) ONBUILD COPY . /app", "COPY . /app # buildkit", "RUN /bin/sh -c make all # buildkit",
        "RUN /bin/sh -c make test # buildkit", "/bin/sh",
    )  # fmt: skip
    assert instruction_lines(dockerfile, history) == (None, None, None, None, 2, 3, None)


def test_a_command_that_was_edited_a_little_still_fits() -> None:
    dockerfile = parse("FROM a\nRUN apt-get install -y --no-install-recommends git curl\nRUN make\n")
    history = steps("RUN /bin/sh -c apt-get install -y --no-install-recommends git # buildkit", "RUN /bin/sh -c make")
    assert instruction_lines(dockerfile, history) == (2, 3)


@pytest.mark.parametrize("shell", ["/bin/bash -o pipefail -c", "/bin/ash -eo pipefail -c", "powershell -Command"])
def test_another_shell(shell: str) -> None:
    dockerfile = parse("FROM a\nRUN one && two\n")
    assert instruction_lines(dockerfile, steps(f"RUN {shell} one && two # buildkit")) == (2,)


def test_another_image_s_dockerfile_fits_nothing() -> None:
    dockerfile = parse("FROM a\nCOPY x /x\nRUN one two three\nRUN four five six\n")
    history = steps(*BASE, "RUN /bin/sh -c something else # buildkit", "COPY y /y # buildkit")
    assert instruction_lines(dockerfile, history) == (None,) * 4
    assert instruction_lines(dockerfile, []) == ()


def test_podman_s_history_fits() -> None:
    dockerfile = parse("FROM a\nCOPY x /x\nRUN one two\nENV A=1\n")
    history = steps("/bin/sh -c #(nop) COPY file:01ab in /x ", "/bin/sh -c one two", "/bin/sh -c #(nop) ENV A=1")
    assert instruction_lines(dockerfile, history) == (2, 3, 4)


class TestScan:
    SECRET = token(6)
    TEXT = "FROM scratch\n\nCOPY a /a\nRUN echo {secret} > /secret.txt\nRUN rm /secret.txt\nENV GITHUB_TOKEN={other}\n"

    def archive(self, cli: Cli) -> Path:
        text = self.TEXT.format(secret=self.SECRET, other=token(7))
        (cli.folder / "Dockerfile").write_text(text)
        made = image(
            layer({"a": f"x {token(8)}\n"}),
            layer({"secret.txt": self.SECRET + "\n"}),
            layer({".wh.secret.txt": ""}),
            history=[
                step("COPY a /a # buildkit"),
                step(f"RUN /bin/sh -c echo {self.SECRET} > /secret.txt # buildkit"),
                step("RUN /bin/sh -c rm /secret.txt # buildkit"),
                step(f"ENV GITHUB_TOKEN={token(7)}", empty=True),
            ],
            config={"Env": [f"GITHUB_TOKEN={token(7)}"]},
        )
        return made.docker_archive(cli.folder / "a.tar")

    def test_findings_tell_the_line_that_brought_them_in(self, cli: Cli) -> None:
        done = cli("scan", self.archive(cli), "--dockerfile", "Dockerfile", "--format", "json")
        got = {(f["path"] or f["where"]): f["source"] for f in done.json["findings"]}
        assert done.status == 1 and done.err == ""
        assert got == {
            "/a": {"file": "Dockerfile", "line": 3},
            "/secret.txt": {"file": "Dockerfile", "line": 4},
            "history[1].created_by": {"file": "Dockerfile", "line": 4},
            "history[3].created_by": {"file": "Dockerfile", "line": 6},
            "config.Env[0]": {"file": "Dockerfile", "line": 6},
        }

    def test_a_path_below_the_working_directory_is_shown_from_there(self, cli: Cli) -> None:
        archive = self.archive(cli)
        done = cli("scan", archive, "--dockerfile", cli.folder / "Dockerfile", "--format", "json")
        assert {f["source"]["file"] for f in done.json["findings"]} == {"Dockerfile"}

    def test_a_dockerfile_of_another_image_is_said_and_changes_nothing(self, cli: Cli) -> None:
        archive = self.archive(cli)
        (cli.folder / "Other").write_text("FROM a\nCOPY q /q\nRUN quite other\n")
        done = cli("scan", archive, "--dockerfile", "Other", "--format", "json")
        assert done.status == 1 and {f["source"] for f in done.json["findings"]} == {None}
        assert done.err.count("\n") == 1 and "Other: does not match the history of" in done.err

    def test_a_broken_dockerfile_is_said_before_the_scan(self, cli: Cli) -> None:
        (cli.folder / "Bad").write_text("FROM a\nRUM x\n")
        done = cli("scan", "no-such-image.tar", "--dockerfile", "Bad")
        assert done.status == 2 and "Bad:2: unknown instruction RUM; did you mean 'RUN'?" in done.err

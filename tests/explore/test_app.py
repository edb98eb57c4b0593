"""The terminal view, driven by its keys."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import ContentSwitcher, Input, OptionList, Static

from auditor.core.options import AuditOptions
from auditor.explore.app import ExploreApp
from auditor.explore.file_contents import FileContents
from auditor.explore.file_view import FileView
from auditor.explore.screens import PathScreen, TextScreen
from auditor.findings.file_tree import FileNode
from auditor.scan import Scanner
from tests.explore.conftest import TOKENS, Explored
from tests.images import image
from tests.report.browser import planted

Script = Callable[["View"], Awaitable[None]]


class View:
    """The running application, and the parts of its screen."""

    def __init__(self, app: ExploreApp, pilot: Pilot[None], messages: list[str]) -> None:
        self.app, self.pilot, self.messages = app, pilot, messages

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.app.workers.wait_for_complete()
        await self.pilot.pause()

    async def recover(self, output: Path) -> None:
        await self.press("r")
        assert isinstance(self.app.screen, PathScreen)
        self.app.screen.query_one(Input).value = str(output)
        await self.press("enter")

    async def select(self, path: str) -> None:
        """Move the cursor to an open file."""
        files = self.app.query_one(FileView)
        files.focus()
        for line in range(files.last_line + 1):
            files.cursor_line = line
            if files.selected_file and files.selected_file.path == path:
                await self.pilot.pause()
                return
        raise AssertionError(f"{path} is not shown")

    @property
    def files(self) -> list[str]:
        """Labels of all lines of the file tree."""
        tree = self.app.query_one(FileView)
        nodes = (tree.get_node_at_line(line) for line in range(tree.last_line + 1))
        return [str(node.label) for node in nodes if node]

    @property
    def detail(self) -> str:
        return shown(self.app.query_one("#detail", Static))

    @property
    def title(self) -> str:
        return str(self.app.query_one("#switch", ContentSwitcher).border_title)


def shown(widget: Static) -> str:
    console = widget.app.console
    with console.capture() as captured:
        console.print(widget.content)
    return captured.get()


def run(explored: Explored, script: Script, size: tuple[int, int] = (120, 40)) -> None:
    """Run a script of keys; hold that no whole secret was on the screen at its end."""

    async def session() -> None:
        app, messages = ExploreApp(explored.audit, explored.contents), list[str]()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(app, "notify", lambda message, **_: messages.append(message))
            async with app.run_test(size=size) as pilot:
                await pilot.pause()
                await script(View(app, pilot, messages))
                picture = app.export_screenshot()
        assert not any(token in picture for token in TOKENS)

    asyncio.run(session())


def test_it_starts_at_the_layer_of_the_most_urgent_secret(explored: Explored) -> None:
    async def script(view: View) -> None:
        layers = view.app.query_one("#layers", OptionList)
        labels = [str(option.prompt) for option in layers.options]
        assert layers.highlighted == 1 and view.title == "Files of layer 0"
        assert labels[0].startswith("Image") and "secrets" in labels[1]
        assert labels[2].endswith("RUN rm /root/.netrc")
        heading = shown(view.app.query_one("#verdict", Static))
        assert "planted" in heading or "image.tar" in heading
        assert "LEAKS" in heading
        await view.press("down")
        assert view.title == "Files of layer 1"
        assert any(label.startswith("- .netrc") and "recoverable from layer 0" in label for label in view.files)
        assert any(label.startswith("~ .env") for label in view.files)

    run(explored, script)


def test_a_hidden_file_is_previewed_and_recovered(explored: Explored, tmp_path: Path) -> None:
    output = tmp_path / "netrc"

    async def script(view: View) -> None:
        await view.select("/root/.netrc")
        assert "deleted in layer 1, still recoverable" in view.detail
        await view.press("enter")
        assert "password ghp_****" in view.detail
        await view.recover(output)
        assert "written" in view.messages[-1]
        await view.recover(output)
        assert "exists already" in view.messages[-1]

    run(explored, script)
    assert TOKENS[0] in output.read_text()


def test_a_filter_shows_matching_files_of_the_image(explored: Explored) -> None:
    async def script(view: View) -> None:
        await view.press("home")
        assert view.title == "Files of image"
        await view.press("slash", *"NETRC", "enter")
        assert view.title == "Files of image, only 'NETRC'"
        assert [label.split("  ")[0] for label in view.files][1:] == ["root/", "- .netrc"]
        await view.press("escape")
        assert view.title == "Files of image" and len(view.files) > 3

    run(explored, script)


def test_an_error_of_the_reader_is_shown_and_the_view_stays_open(explored: Explored) -> None:
    async def script(view: View) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(view.app.contents, "preview", failing)
            await view.select("/root/.netrc")
            await view.press("enter")
        assert "internal error: RuntimeError" in view.detail

    run(explored, script)


def test_an_internal_error_closes_the_view_without_local_variables(
    explored: Explored, capfd: pytest.CaptureFixture[str]
) -> None:
    async def script(view: View) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(view.app, "action_plans", failing)
            await view.press("f")

    with pytest.raises(RuntimeError):
        run(explored, script)
    assert capfd.readouterr() == ("", "")


def failing(*_: object) -> None:
    raise RuntimeError(f"broken at {TOKENS[0]}")


def test_no_text_is_markup(explored: Explored) -> None:
    async def script(view: View) -> None:
        for typed in ("[/red]\\[b", "[/", "[red", "\\"):
            await view.press("slash")
            view.app.query_one("#filter", Input).value = typed
            await view.press("enter")
            assert typed[:2] in view.title.replace("\\\\", "\\")
        await view.press("slash")
        view.app.query_one("#filter", Input).value = "[red]"
        await view.press("enter")
        await view.select("/usr/share/[red]markup")
        assert "/usr/share/[red]markup" in view.detail
        await view.press("enter")
        assert "plain\\x1b[31m text" in view.detail

    run(explored, script)


def test_an_image_of_any_names_and_sizes_is_shown(tmp_path: Path, scanner: Scanner, cache: Path) -> None:
    for built in (planted.hostile(), image()):
        (audit,) = planted.audited(tmp_path, scanner, built)
        contents = FileContents(str(tmp_path / "image0.tar"), audit, AuditOptions(cache_dir=cache))

        async def script(view: View) -> None:
            await view.press("home", "s", "s", "f", "escape")
            assert "\u202e" not in view.app.export_screenshot()

        run(Explored("", audit, contents), script, (80, 24))


def test_secrets_are_listed_with_their_places_and_recovered(explored: Explored, tmp_path: Path) -> None:
    async def script(view: View) -> None:
        await view.press("s")
        secrets = view.app.query_one("#secrets", OptionList)
        assert view.title.endswith("secrets of layer 0") and secrets.option_count > 2
        assert "added in layer 0" in view.detail and "Revoke" in view.detail
        await view.recover(tmp_path / "file")
        assert (tmp_path / "file").exists()
        await view.press("s")
        assert view.title == "Files of layer 0"

    run(explored, script)


def test_help_and_flatten_methods_open_and_close(explored: Explored) -> None:
    async def script(view: View) -> None:
        for key, text in (("question_mark", "quit"), ("f", "--excise")):
            await view.press(key)
            assert isinstance(view.app.screen, TextScreen)
            assert text in shown(view.app.screen.query_one(Static))
            await view.press("escape")
            assert not isinstance(view.app.screen, TextScreen)
        await view.press("r")  # nothing is selected
        assert view.messages == ["Select a file, or a secret in a file."]

    run(explored, script, (80, 24))


def test_folders_are_read_when_they_are_opened(explored: Explored) -> None:
    async def script(view: View) -> None:
        files = view.app.query_one(FileView)
        closed = next(node for node in files.root.children if str(node.label).startswith("usr/"))
        assert not closed.children and not closed.is_expanded
        closed.expand()
        await view.pilot.pause()
        assert {str(node.label).split()[0] for node in closed.children} == {"bin/", "share/"}
        files.root.expand_all()
        await view.pilot.pause()
        named = [node.data for child in closed.children for node in child.children]
        assert any(isinstance(node, FileNode) and node.name == "[red]markup" for node in named)

    run(explored, script)

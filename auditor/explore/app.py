"""The application: layers on the left, files or secrets on the right, details below them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from rich.console import Group
from rich.text import Text
from textual import work
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.widgets import ContentSwitcher, Input, OptionList, Static, Tree

from auditor.core.entries import FileVersion
from auditor.core.errors import reason
from auditor.core.text import plural, printable, shortened, size
from auditor.explore.file_contents import FileContents, Preview
from auditor.explore.file_view import FileView
from auditor.explore.screens import HELP, PathScreen, TextScreen, plans_text
from auditor.explore.texts import (
    file_details,
    layer_details,
    layer_text,
    layers_of,
    place_in,
    secret_details,
    secret_label,
)
from auditor.findings.file_tree import FileNode, FileTree, Node
from auditor.findings.secret_groups import SecretGroup
from auditor.pipeline import Audit
from auditor.report.finding_text import image_name, verdict_text

_MOST_SECRETS = 1000


def _keys_text(bindings: Iterable[BindingType]) -> str:
    """Return the markup of the keys, each a link to its action."""
    shown = [one for one in bindings if isinstance(one, Binding) and one.show]
    return "  ".join(
        f"[@click=app.{one.action}][bold $accent]{one.key_display or one.key}[/] {one.description}[/]" for one in shown
    )


class ExploreApp(App[None]):
    """Explores the audit of one image. `contents` reads its files."""

    TITLE = "image-audit explore"
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    #verdict { height: auto; max-height: 3; padding: 0 1; background: $panel; }
    #layers { width: 34%; min-width: 32; max-width: 52; height: 1fr; border: round $foreground 40%; }
    #layers { text-wrap: nowrap; text-overflow: ellipsis; }
    #layers, #files, #secrets, #details { scrollbar-size: 1 1; }
    #layers, #switch, #details { border-title-color: $foreground; }
    #right { width: 1fr; }
    #switch { height: 2fr; border: round $foreground 40%; }
    #files, #secrets { height: 1fr; border: none; }
    #details { height: 1fr; border: round $foreground 40%; padding: 0 1; }
    #layers:focus, #details:focus, #switch:focus-within { border: round $accent; }
    #filter { display: none; }
    #keys { height: 1; padding: 0 1; background: $panel; link-style: none; link-color: $foreground; }
    TextScreen, PathScreen { align: center middle; }
    .dialog { width: 90%; max-width: 110; height: auto; max-height: 90%; padding: 1 2; }
    .dialog { border: round $accent; background: $surface; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "secrets", "Secrets/files"),
        Binding("slash", "filter", "Filter", key_display="/"),
        Binding("r", "recover", "Recover"),
        Binding("f", "plans", "Flatten"),
        Binding("question_mark,f1", "help", "Help", key_display="?"),
        Binding("q", "quit", "Quit"),
        Binding("escape", "show_all", show=False),
    ]

    def __init__(self, audit: Audit, contents: FileContents) -> None:
        super().__init__()
        self.audit, self.contents = audit, contents
        self._trees = audit.file_trees()
        self._layers: list[int | None] = [None, *range(len(audit.records))]
        self._layer: int | None = None
        self._groups: tuple[SecretGroup, ...] = ()
        self._filter = ""

    def _handle_exception(self, error: Exception) -> None:
        """Close the view. The base class would print the local variables of the traceback, which may hold secrets."""
        if self._exception is None:
            self._exception = error
            self._exception_event.set()
        self._close_messages_no_wait()

    @property
    def failure(self) -> Exception | None:
        """The internal error that closed the view."""
        return self._exception

    def compose(self) -> ComposeResult:
        """Build the screen."""
        yield Static(self._heading(), id="verdict")
        with Horizontal():
            layers = OptionList(*(layer_text(self.audit, layer) for layer in self._layers), id="layers")
            layers.border_title = "Layers"
            yield layers
            with Vertical(id="right"):
                with ContentSwitcher(initial="files", id="switch"):
                    yield FileView()
                    yield OptionList(id="secrets")
                with VerticalScroll(id="details") as details:
                    details.border_title, details.can_focus = "Details", True
                    yield Static(id="detail")
        yield Input(placeholder="text in the path", id="filter")
        yield Static(_keys_text(self.BINDINGS), id="keys")  # Footer has a widget a key, and starts slowly

    def on_mount(self) -> None:
        """Start at the lowest layer with the most urgent secret in a file; else at the top layer."""
        held = (version.layer for finding in self.audit.findings for version in finding.held_by)
        start = next(held, len(self.audit.records) - 1)
        layers = self.query_one("#layers", OptionList)
        layers.highlighted = start + 1
        layers.focus()

    def _heading(self) -> Text:
        """Return name and verdict; of parts that were not read their number and the first reason."""
        text = Text(f"{shortened(image_name(self.audit), 200)}  ", no_wrap=True)
        text.append(verdict_text(self.audit), "bold red" if self.audit.findings else "bold")
        if self.audit.skipped:
            count, first = plural(len(self.audit.skipped), "item"), printable(self.audit.skipped[0].reason)
            text.append(f"\n{count} not read: {first}", style="yellow")
        return text

    # The list of layers

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        """Show the layer, or the secret, under the cursor."""
        if event.option_index != event.option_list.highlighted:
            return  # the cursor has moved on
        if event.option_list.id == "layers":
            self._layer = self._layers[event.option_index]
            self._show()
        else:
            self._detail(secret_details(self.audit, self._groups[event.option_index]))

    def _show(self) -> None:
        """Show files and secrets of the layer."""
        tree = self._tree()
        self.query_one(FileView).show(tree, opened=bool(self._filter))
        groups = (group for group in self.audit.secrets if self._is_in_layer(group))
        self._groups = tuple(groups)[:_MOST_SECRETS]
        secrets = self.query_one("#secrets", OptionList)
        secrets.clear_options()
        secrets.add_options([secret_label(group, self._layer) for group in self._groups])
        self._title()
        self._detail(layer_details(self.audit, self._layer))

    def _tree(self) -> FileTree:
        tree = self._trees.image() if self._layer is None else self._trees.layer(self._layer)
        return tree.filtered(self._filter) if self._filter else tree

    def _is_in_layer(self, group: SecretGroup) -> bool:
        return self._layer is None or any(self._layer in layers_of(finding) for finding in group.findings)

    def _title(self) -> None:
        switch = self.query_one("#switch", ContentSwitcher)
        where = "image" if self._layer is None else f"layer {self._layer}"
        if switch.current == "secrets":
            switch.border_title = f"{plural(len(self._groups), 'secret')} of {where}"
        else:
            only = f", only {printable(self._filter)!r}" if self._filter else ""
            switch.border_title = Text(f"Files of {where}{only}")  # a str would be parsed as markup

    # Details

    def on_tree_node_highlighted(self, event: Tree.NodeHighlighted[Node]) -> None:
        """Show the facts of the file under the cursor."""
        if isinstance(event.node.data, FileNode):
            self._detail(file_details(event.node.data, self._layer))

    def on_tree_node_selected(self, event: Tree.NodeSelected[Node]) -> None:
        """Show the content of a file."""
        if isinstance(event.node.data, FileNode):
            self._read(event.node.data)

    def _detail(self, *parts: Text) -> None:
        self.query_one("#detail", Static).update(Group(*parts))
        self.query_one("#details").scroll_home(animate=False)

    @work(thread=True, exclusive=True, group="preview")
    def _read(self, node: FileNode) -> None:
        """Read the content of a file: the engine may export the image for it, which takes a while."""
        self.call_from_thread(self._preview, node, Preview((), "reading …"))
        try:
            preview = self.contents.preview(node.version)
        except Exception as exc:
            preview = Preview((), self.audit.mask(reason(exc)))
        self.call_from_thread(self._preview, node, preview)

    def _preview(self, node: FileNode, preview: Preview) -> None:
        if self.query_one(FileView).selected_file == node:
            lines = "\n".join(preview.lines)
            note = Text(printable(preview.note), style="dim italic")
            self._detail(file_details(node, self._layer), Text(f"\n{lines}" if lines else ""), note)

    # Actions

    def action_secrets(self) -> None:
        """Show secrets instead of files, or files again."""
        switch = self.query_one("#switch", ContentSwitcher)
        switch.current = "files" if switch.current == "secrets" else "secrets"
        self.query_one(f"#{switch.current}").focus()
        secrets = self.query_one("#secrets", OptionList)
        if switch.current == "secrets" and secrets.highlighted is None:
            secrets.highlighted = 0 if self._groups else None
        self._title()

    def action_filter(self) -> None:
        """Ask for a text of paths."""
        field = self.query_one("#filter", Input)
        field.display = True
        field.value = self._filter
        field.focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Filter the files."""
        if event.input.id == "filter":
            self._set_filter(event.value.strip())

    def action_show_all(self) -> None:
        """Remove the filter."""
        self._set_filter("")

    def _set_filter(self, text: str) -> None:
        self.query_one("#filter", Input).display = False
        self.query_one("#switch", ContentSwitcher).current = "files"
        if text != self._filter:
            self._filter = text
            self._show()
        self._title()
        self.query_one(FileView).focus()

    def action_plans(self) -> None:
        """Show the methods to flatten the image."""
        self.push_screen(TextScreen("Flatten", plans_text(self.audit.flatten)))

    def action_help(self) -> None:
        """Show the keys."""
        self.push_screen(TextScreen("Help", Text(HELP)))

    def action_recover(self) -> None:
        """Ask where to write the file under the cursor."""
        chosen = self._chosen()
        if chosen is None:
            self.notify("Select a file, or a secret in a file.", severity="warning")
            return
        version, name = chosen

        def write(output: Path | None) -> None:
            if output is not None:
                self._recover(version, output)

        self.push_screen(PathScreen(printable(name)), write)

    def _chosen(self) -> tuple[FileVersion, str] | None:
        """Return the file version under the cursor, and its masked path."""
        if self.query_one("#switch", ContentSwitcher).current == "files":
            node = self.query_one(FileView).selected_file
            return (node.version, node.path) if node else None
        row = self.query_one("#secrets", OptionList).highlighted
        if row is None:
            return None
        place = place_in(self._groups[row], self._layer)
        held = [version for version in place.held_by if version.layer == self._layer] or place.held_by
        return (held[-1], place.path) if place.path and held else None

    @work(thread=True, group="recover")
    def _recover(self, version: FileVersion, output: Path) -> None:
        """Write a file. All layers are read and verified first."""
        self.call_from_thread(self.notify, f"Recovering to {printable(str(output))} …", markup=False)
        try:
            written = self.contents.recover(version, output)
        except Exception as exc:
            message = printable(self.audit.mask(reason(exc)))
            self.call_from_thread(self.notify, message, severity="error", markup=False, timeout=15)
        else:
            self.call_from_thread(self.notify, f"{printable(str(output))}: {size(written)} written", markup=False)

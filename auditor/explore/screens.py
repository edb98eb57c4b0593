"""Dialogs over the main screen: help, flatten methods, the path to recover a file to."""

from __future__ import annotations

import os
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from auditor.advice.flatten_advice import FlattenAdvice
from auditor.core.text import plural, printable, size

HELP = """\
arrow keys   move; Enter opens a folder or shows the content of a file, secrets masked
Tab          next part of the screen: layers, files or secrets, details
s            secrets instead of files, and back
/            show only files with a text in their path; Escape shows all
r            recover the file under the cursor, or that of the secret, to a path that you enter
f            methods to flatten the image
? or F1      this help
q            quit

+ added   ~ overwritten   - deleted by the layer. Deleted and overwritten files are still in a lower layer."""


class TextScreen(ModalScreen[None]):
    """A text over the main screen, closed by Escape, Enter or q."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,enter,question_mark,f,f1", "dismiss", "Close")]

    def __init__(self, title: str, text: Text) -> None:
        super().__init__()
        self._title, self._text = title, text

    def compose(self) -> ComposeResult:
        """Build the screen."""
        with VerticalScroll(classes="dialog") as dialog:
            dialog.border_title, dialog.border_subtitle = self._title, "Escape closes"
            yield Static(self._text)


class PathScreen(ModalScreen[Path | None]):
    """Asks for the path to recover a file to; the result is None if the user leaves with Escape."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss", "Cancel")]

    def __init__(self, name: str) -> None:
        """`name` is the printable path of the file in the image."""
        super().__init__()
        self._path = name

    def compose(self) -> ComposeResult:
        """Build the screen."""
        with Vertical(classes="dialog") as dialog:
            dialog.border_title, dialog.border_subtitle = "Recover", "Enter writes the file, Escape cancels"
            yield Static(Text(f"{self._path}\nWrite the file, with its secrets, to a new file:"))
            yield Input(placeholder="path", id="path")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Return the path."""
        if event.value.strip():
            path = os.path.expanduser(event.value.strip())  # noqa: PTH111 - the other fails for unknown users
            self.dismiss(Path(path))


def plans_text(advice: FlattenAdvice) -> Text:
    """Return the reasons to flatten an image and the methods with their commands."""
    text = Text()
    for reason in advice.reasons:
        text.append(f"{printable(reason)}\n")
    if not advice.recommended:
        text.append("Not needed: no hidden secret, and few hidden bytes.\n")
    for plan in advice.plans:
        text.append(f"\n{plan.method}", style="bold")
        saved = advice.size_before - plan.size_after
        change = f"saves {size(saved)}" if saved >= 0 else f"adds {size(-saved)}"
        text.append(f"  {plural(plan.layers_kept, 'layer')} kept, {plan.layers_rewritten} rewritten; ")
        text.append(f"{size(advice.size_before)} -> {size(plan.size_after)}, {change}\n")
        text.append(f"  {printable(plan.command)}\n", style="dim")
    return text

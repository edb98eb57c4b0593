"""Which step of an image's history made which layer. Source: OCI image spec, config.md#history."""

from __future__ import annotations

from collections.abc import Sequence

from auditor.core.image_config import HistoryStep


def layers_of_steps(history: Sequence[HistoryStep], layers: int) -> tuple[int | None, ...]:
    """Return for each step the index of its layer, None for empty steps.

    Where the steps that claim a layer are not as many as the layers, nobody can say which is which: all None.
    """
    if sum(not step.empty for step in history) != layers:
        return (None,) * len(history)
    numbers = iter(range(layers))
    return tuple(None if step.empty else next(numbers) for step in history)


def step_of_layer(mapping: Sequence[int | None], layer: int) -> int | None:
    """Return the index of the step that made a layer, None where that is not known."""
    return next((at for at, made in enumerate(mapping) if made == layer), None)

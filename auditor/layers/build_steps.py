"""Layers by the step of the image's history that created them. Source: OCI image spec, config.md#history."""

from __future__ import annotations

from collections.abc import Sequence

from auditor.core.image_config import HistoryStep


def layers_of_steps(history: Sequence[HistoryStep], layers: int) -> tuple[int | None, ...]:
    """Return the index of each step's layer, None for empty steps.

    All are None where the number of steps with a layer differs from the number of layers: the mapping is unknown.
    """
    if sum(not step.empty for step in history) != layers:
        return (None,) * len(history)
    numbers = iter(range(layers))
    return tuple(None if step.empty else next(numbers) for step in history)


def step_of_layer(mapping: Sequence[int | None], layer: int) -> int | None:
    """Return the index of the step that created a layer; None where it is unknown."""
    return next((at for at, created in enumerate(mapping) if created == layer), None)

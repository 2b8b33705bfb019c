"""How many rows the next forward pass may hold: what is worth it, what is set, what did not fit."""

import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from sdgen.batcher import BatchKey
from sdgen.engine.attempt import Fault, attempt
from sdgen.engine.row_budget import RowBudgets

if TYPE_CHECKING:
    from sdgen.pipelines.base import StepPipeline

log = logging.getLogger(__name__)


class RowLimits:
    """The engine thread's own; not thread-safe."""

    def __init__(
        self, budgets: RowBudgets, at_most: int, pipeline_of: "Callable[[str], StepPipeline]"
    ) -> None:
        """at_most: rows the operator set; 0: as measured. pipeline_of: a model's, by name."""
        self._budgets, self._at_most, self._pipeline_of = budgets, at_most, pipeline_of
        self._fitted: dict[BatchKey, int] = {}  # rows to keep to, where more did not fit

    def rows(self, key: BatchKey) -> int:
        """Rows a pass of that key may hold; 0: its pictures go alone. Measures a new size first."""
        if key.alone:
            return 0
        rows = self._at_most
        if not rows:
            rows = self.measure(self._pipeline_of(key.model), key.width, key.height)
        return min(rows, self._fitted.get(key, rows))

    def known_rows(self, key: BatchKey) -> int:
        """As rows(), but 0 where it would have to be measured first."""
        if key.alone:
            return 0
        if not self._at_most:
            pipeline = self._pipeline_of(key.model)
            if not self._budgets.knows(_budget_name(pipeline, key.width, key.height)):
                return 0
        return self.rows(key)

    def did_not_fit(self, key: BatchKey, rows: int) -> None:
        """Memory ran out with that many rows: from now on half of them."""
        key = key._replace(alone="")
        self._fitted[key] = max(1, rows // 2)
        log.warning("out of memory with %d rows of %s; now at most %d", rows, key, rows // 2)

    def measure(self, pipeline: "StepPipeline", width: int, height: int) -> int:
        """Rows worth filling for a model and size in pixels, timed where not known."""
        import torch

        prompt = pipeline.spec.request(
            prompt="a", width=width, height=height, steps=2, guidance_scale=1.0, seed=0
        )

        def one_pass(rows: int) -> bool:
            state = pipeline.encode(prompt)[0]
            outcome = attempt(partial(pipeline.predict_noise, [state] * rows))
            if pipeline.device.type == "cuda":
                torch.cuda.synchronize()
            return not isinstance(outcome, Fault)

        return self._budgets.rows(_budget_name(pipeline, width, height), one_pass)


def _budget_name(pipeline: "StepPipeline", width: int, height: int) -> str:
    """What a measured row budget depends on."""
    import torch

    return " ".join(
        (
            pipeline.model_hash[:16] or pipeline.spec.name,
            f"{width}x{height}",
            pipeline.label,
            str(pipeline.dtype),
            f"{torch.get_num_threads()} threads",
            f"torch {torch.__version__}",
        )
    )

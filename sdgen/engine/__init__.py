"""The engine that draws in this process. Importing it imports no torch: its thread does that.

local.py: the thread and its loop. run.py: one request on its way. shelf.py: models in memory.
row_budget.py: how many rows a forward pass is worth.
"""

from sdgen.engine.local import LocalEngine

__all__ = ["LocalEngine"]

"""The engine that draws in this process. Importing it imports no torch: its thread does that.

local.py: the thread and its loop. run.py: one request on its way. shelf.py: models in memory.
row_budget.py, row_limits.py: how many rows a forward pass is worth; what it may hold. attempt.py:
an action's value or fault.
"""

from sdgen.engine.local import LocalEngine

__all__ = ["LocalEngine"]

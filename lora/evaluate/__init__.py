"""Which checkpoint of a run is the one to keep: measured, chosen, and said why. No torch on import.

scores.py: what was measured, and a table. pick.py: the choice.
"""

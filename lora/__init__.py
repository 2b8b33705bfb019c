"""Train a LoRA adapter from a handful of photos: checked before, exact in between, proven after."""

"""LoRA adapters before they are loaded: catalogue and doctor. Reads headers only; no torch."""

"""The page. Gradio is imported here (and in lora.tab) only."""

from pathlib import Path

TEMPLATES = Path(__file__).parent / "templates"  # of its HTML, for sdgen.html.render

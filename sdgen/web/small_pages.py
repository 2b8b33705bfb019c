"""Pages without scripts: the login, and the question of a personal link. Light and dark."""

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path

from markupsafe import Markup
from starlette.responses import HTMLResponse

from sdgen.html import render
from sdgen.web.other_sites import SPACE_FRAMES

TEMPLATES = Path(__file__).parent / "templates"
_STYLE = """
:root { color-scheme: light dark; --paper: #faf7f2; --card: #fff; --line: #d6ccbd; --ink: #1c1917;
  --soft: #57534e; --accent: #4f46e5; --problem: #b42318; }
@media (prefers-color-scheme: dark) { :root { --paper: #171412; --card: #211d1a; --line: #4a433d;
  --ink: #f5f5f4; --soft: #a8a29e; --accent: #4f46e5; --problem: #fda29b; } }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; background: var(--paper);
  color: var(--ink); font: 16px/1.5 ui-sans-serif, system-ui, "Segoe UI", Roboto, sans-serif; }
main { box-sizing: border-box; width: min(100% - 2rem, 26rem); margin: 1rem; padding: 1.5rem;
  background: var(--card); border: 1px solid var(--line); border-radius: 18px; }
h1 { font-size: 1.25rem; line-height: 1.3; margin: 0 0 .75rem; }
p { margin: 0 0 1rem; } .soft, details { color: var(--soft); font-size: .9rem; }
.problem { color: var(--problem); }
label { display: block; margin: 0 0 1rem; font-weight: 600; }
input { box-sizing: border-box; display: block; width: 100%; margin-top: .25rem; padding: .6rem;
  font: inherit; color: inherit; background: var(--paper); border: 1px solid var(--line);
  border-radius: 10px; }
button, .button { box-sizing: border-box; display: block; width: 100%; padding: .7rem;
  font: inherit; font-weight: 600; text-align: center; text-decoration: none;
  border-radius: 10px; cursor: pointer;
  color: #fff; background: var(--accent); border: 1px solid var(--accent); }
.button.second { margin: .75rem 0 1rem; color: var(--ink); background: none;
  border-color: var(--line); }
details a { color: inherit; }
:focus-visible { outline: 3px solid #818cf8; outline-offset: 2px; }
"""
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()


def small_page(
    title: str,
    body: str,
    *,
    on_space: bool,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> HTMLResponse:
    """A page with `body`, HTML that `render` made.

    on_space: Hugging Face may show it in a frame; else nobody may.
    """
    text = render(
        TEMPLATES, "pages.html", "page", title=title, style=Markup(_STYLE), body=Markup(body)
    )
    frames = " ".join(SPACE_FRAMES) if on_space else "'none'"
    policy = (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self'; "
        f"base-uri 'none'; frame-ancestors {frames}"
    )
    return HTMLResponse(
        text,
        status,
        {
            "Content-Security-Policy": policy,
            "Cache-Control": "no-store",
            # To this app alone. With "no-referrer" browsers would also leave out the Origin of a
            # form, by which it is told from another site's.
            "Referrer-Policy": "same-origin",
            "X-Content-Type-Options": "nosniff",
            **(headers or {}),
        },
    )

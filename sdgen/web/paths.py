"""How the router reads the path of a request, for all that decides before it."""

import re
from urllib.parse import unquote

from starlette.types import Scope

_DECODINGS = 4  # of %: more layers than any program here takes off
_SEPARATORS = re.compile(r"[/\\]+")
_OF_A_FILE = re.compile(r"(^|/)(gradio_api/)?file[=/]")


def route_path(scope: Scope) -> str:
    """The part of the path that routes are compared with: after the root path, where it has that.

    As starlette's router does it, which keeps its function to itself.
    """
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    if not root or not path.startswith(root):
        return path
    if path == root:
        return ""
    return path[len(root) :] if path[len(root)] == "/" else path


def means_a_file(path: str) -> bool:
    """True where a path asks for a file in any spelling: of Gradio's `file=` and its aliases.

    Also where only a proxy, a mount or another program would read it so: with encoded letters,
    several slashes, backslashes, capitals.
    """
    for _ in range(_DECODINGS):
        decoded = unquote(path)
        if decoded == path:
            break
        path = decoded
    return _OF_A_FILE.search(_SEPARATORS.sub("/", path).lower()) is not None

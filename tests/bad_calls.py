"""Calls of the endpoints with what can be nothing, as plain HTTP."""

import http.client
import json
import time
from typing import Any

CHEAP = {"prompt": "x", "steps": 1, "width": 64, "height": 64}
FIELDS = {
    "generate": (
        "prompt", "negative_prompt", "model", "seed", "steps", "guidance_scale", "width", "height",
        "num_images", "sampler", "exact", "enhance", "adapters", "leave_out_prompt",
    ),
    "submit": ("several", "grid_x", "grid_y", "prompt", "seed", "adapters"),
    "job": ("job_id",),
    "cancel": ("job_id",),
    "enhance": ("prompt", "model", "enhancer", "triggers", "again"),
    "adapters": ("model",),
    "inspect_adapter": ("adapter", "model"),
    "verify": ("picture",),
}  # fmt: skip
# What the other fields of a call hold.
OTHERS = {
    "generate": CHEAP,
    "submit": CHEAP,
    "enhance": {"prompt": "x"},
    "inspect_adapter": {"adapter": "minnal-murali"},
}
ALL = [(endpoint, name) for endpoint, names in FIELDS.items() for name in names]

# What can be nothing, in no field.
NEVER = [
    float("nan"), float("inf"), float("-inf"), -1e308, {}, {"a": 1}, [[[[[[]]]]]], [None],
    {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}},
    {"path": "http://127.0.0.1:9/x", "meta": {"_type": "gradio.FileData"}},
    {"path": "x", "meta": 5},
    "x\ud800y", "x" * 1_000_000, "{{7*7}}${7*7}<%= 7*7 %>\x00",
]  # fmt: skip


def arguments(endpoint: str, name: str, value: Any) -> dict[str, Any]:
    """The arguments of a call with that value in one field, and what is cheap in the others."""
    return {**OTHERS.get(endpoint, {}), name: value}


class Endpoints:
    """The endpoints of an app at `host` (name and port)."""

    def __init__(self, host: str) -> None:
        self.host = host
        told = json.loads(self.send("GET", "info")[1])["named_endpoints"]
        self.parameters: dict[str, list[dict[str, Any]]] = {
            name[1:]: endpoint["parameters"] for name, endpoint in told.items()
        }
        self.seconds: list[float] = []  # of each refused call

    def call(self, endpoint: str, **given: Any) -> tuple[str, Any]:
        """The last event of a call and its data. Fails on any status but 200."""
        data = [
            given.get(p["parameter_name"], p.get("parameter_default"))
            for p in self.parameters[endpoint]
        ]
        started = time.monotonic()
        status, body = self.send("POST", f"call/{endpoint}", json.dumps({"data": data}))
        assert status == 200, (status, body)
        event_id = json.loads(body)["event_id"]
        status, body = self.send("GET", f"call/{endpoint}/{event_id}")
        assert status == 200, (status, body)
        *_, event, told, _, _ = body.decode("utf-8").split("\n")
        kind = event.removeprefix("event: ")
        if kind == "error":
            self.seconds.append(time.monotonic() - started)
        return kind, json.loads(told.removeprefix("data: "))

    def send(self, method: str, path: str, body: str | bytes | None = None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(self.host, timeout=30)
        try:
            headers = {"Content-Type": "application/json"}
            connection.request(method, f"/gradio_api/{path}", body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

"""ComfyUI's graphs as nodes with inputs: one that ran (`prompt`), or one as drawn (`workflow`).

The first holds {id: {class_type, inputs}}, a link being [id, slot]. The second is what the editor
saves: values stand in a list, in the order of the node's widgets, and links in their own table.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

NODES_MAX = 3_000
DEPTH_MAX = 200  # nodes along one way
_MUTED, _BYPASSED = 2, 4  # modes of the editor: a node that is off, and one that is passed by
_CONTROLS = {"fixed", "increment", "decrement", "randomize", "increment-wrap"}
_SEEDS = {"seed", "noise_seed"}  # widgets with one of these behind them
# The order of the widgets of ComfyUI's own nodes (nodes.py, comfy_extras/nodes_custom_sampler.py).
_WIDGETS: Mapping[str, tuple[str, ...]] = {
    "KSampler": ("seed", "steps", "cfg", "sampler_name", "scheduler", "denoise"),
    "KSamplerAdvanced": (
        *("add_noise", "noise_seed", "steps", "cfg", "sampler_name", "scheduler"),
        *("start_at_step", "end_at_step", "return_with_leftover_noise"),
    ),
    "SamplerCustom": ("add_noise", "noise_seed", "cfg"),
    "KSamplerSelect": ("sampler_name",),
    "BasicScheduler": ("scheduler", "steps", "denoise"),
    "KarrasScheduler": ("steps", "sigma_max", "sigma_min", "rho"),
    "RandomNoise": ("noise_seed",),
    "CFGGuider": ("cfg",),
    "FluxGuidance": ("guidance",),
    "CLIPTextEncode": ("text",),
    "CLIPTextEncodeSDXL": (
        *("width", "height", "crop_w", "crop_h", "target_width", "target_height"),
        *("text_g", "text_l"),
    ),
    "CLIPSetLastLayer": ("stop_at_clip_layer",),
    "CheckpointLoaderSimple": ("ckpt_name",),
    "CheckpointLoader": ("config_name", "ckpt_name"),
    "UNETLoader": ("unet_name", "weight_dtype"),
    "EmptyLatentImage": ("width", "height", "batch_size"),
    "EmptySD3LatentImage": ("width", "height", "batch_size"),
    "LoraLoader": ("lora_name", "strength_model", "strength_clip"),
    "LoraLoaderModelOnly": ("lora_name", "strength_model"),
    "PrimitiveNode": ("value",),
}


@dataclass(frozen=True)
class Node:
    """One node. inputs: values, and links as Link."""

    kind: str  # class_type
    inputs: Mapping[str, object]


@dataclass(frozen=True)
class Link:
    """Where an input comes from. node: the id in the graph; slot: which of its outputs."""

    node: str
    slot: int


Graph = Mapping[str, Node]


def looks_run(told: Mapping[str, object]) -> bool:
    """True for an object with at least one node of an API graph."""
    return any(isinstance(each, dict) and "class_type" in each for each in told.values())


def graph_that_ran(told: Mapping[str, object]) -> dict[str, Node]:
    """The nodes of an API graph; {} where it is none, or one of more than NODES_MAX nodes."""
    nodes: dict[str, Node] = {}
    if len(told) > 2 * NODES_MAX:
        return nodes
    for name, value in told.items():
        if not isinstance(value, dict):
            continue
        kind, inputs = value.get("class_type"), value.get("inputs")
        if isinstance(kind, str) and isinstance(inputs, dict):
            nodes[name] = Node(kind, {key: _linked(each) for key, each in inputs.items()})
    return nodes if len(nodes) <= NODES_MAX else {}


def _linked(value: object) -> object:
    """[id, slot] as a Link; every other value as it is."""
    if isinstance(value, list) and len(value) == 2:
        node, slot = value
        if isinstance(node, str | int) and isinstance(slot, int) and not isinstance(slot, bool):
            return Link(str(node), slot)
    return value


def graph_that_is_drawn(told: Mapping[str, object]) -> dict[str, Node]:
    """The nodes of the editor's graph that are on; {} as above."""
    listed = told.get("nodes")
    if not isinstance(listed, list) or len(listed) > NODES_MAX:
        return {}
    drawn = {str(each["id"]): each for each in listed if isinstance(each, dict) and "id" in each}
    sources = dict(_sources(told.get("links")))
    nodes: dict[str, Node] = {}
    for name, each in drawn.items():
        if each.get("mode") in (_MUTED, _BYPASSED) or not isinstance(each.get("type"), str):
            continue
        inputs = _widget_values(each)
        for socket in _dicts(each.get("inputs")):
            link = _passed(sources.get(_key(socket.get("link"))), drawn, sources)
            if link is not None and isinstance(socket.get("name"), str):
                inputs[str(socket["name"])] = link
        nodes[name] = Node(str(each["type"]), inputs)
    return nodes


def _sources(links: object) -> Iterator[tuple[str, Link]]:
    """Each link's id and where it comes from."""
    for each in links[: 20 * NODES_MAX] if isinstance(links, list) else []:
        if isinstance(each, list) and len(each) >= 3:
            number, node, slot = each[:3]
        elif isinstance(each, dict):
            number, node, slot = (each.get(key) for key in ("id", "origin_id", "origin_slot"))
        else:
            continue
        yield _key(number), Link(_key(node), slot if isinstance(slot, int) else 0)


def _passed(
    link: Link | None, drawn: Mapping[str, dict[str, object]], sources: Mapping[str, Link]
) -> Link | None:
    """A link, led on past nodes that are passed by: into the input of the same type."""
    for _ in range(DEPTH_MAX):
        node = drawn.get(link.node) if link else None
        if link is None or node is None or node.get("mode") != _BYPASSED:
            return link
        outputs = _dicts(node.get("outputs"))
        kind = outputs[link.slot].get("type") if 0 <= link.slot < len(outputs) else None
        inner = [each for each in _dicts(node.get("inputs")) if each.get("type") == kind]
        link = sources.get(_key(inner[0].get("link"))) if inner else None
    return None


def _widget_values(node: Mapping[str, object]) -> dict[str, object]:
    """A node's own values by name: as its table has them, or as its inputs name its widgets."""
    stored = node.get("widgets_values")
    if isinstance(stored, dict):
        return dict(stored)
    if not isinstance(stored, list):
        return {}
    known = _WIDGETS.get(str(node.get("type")))
    sockets = _dicts(node.get("inputs"))
    names = known or tuple(str(each.get("name")) for each in sockets if "widget" in each)
    if not names:  # a node of others: its texts at least, as they stand
        names = tuple(f"value_{place}" for place in range(len(stored)))
    found: dict[str, object] = {}
    rest = stored[:500]
    for name in names:
        if not rest:
            break
        found[name] = rest.pop(0)
        if name in _SEEDS and rest and (isinstance(rest[0], bool) or _key(rest[0]) in _CONTROLS):
            del rest[0]
    return found


def _dicts(value: object) -> list[dict[str, object]]:
    return (
        [each for each in value[:500] if isinstance(each, dict)] if isinstance(value, list) else []
    )


def _key(value: object) -> str:
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""

"""ComfyUI: a graph with one sampler is read by following its links back; a richer one is named.

From the sampler to the noise, the guider and the spacing of the steps, through text encoders and
what passes conditioning on, through chains of LoRAs to the checkpoint. What lies on the way and is
not understood is named.
"""

from collections.abc import Iterator, Mapping

from sdgen.metadata.readers import values
from sdgen.metadata.readers.comfy_graph import (
    DEPTH_MAX,
    NODES_MAX,
    Graph,
    Link,
    Node,
    graph_that_is_drawn,
    graph_that_ran,
    looks_run,
)
from sdgen.metadata.readers.found import Found, made_by
from sdgen.metadata.readers.other_json import recipe_of
from sdgen.metadata.recipe import Recipe, RecipeAdapter

PROGRAM = "ComfyUI"
_LORAS_MAX = 40
_TEXT_CHARS = 50_000  # of a prompt that is put together
_VISITS_MAX = 2_000
_JOINED_MAX = 50  # texts of which one is put together
# Inputs that hold a value, of primitives and of nodes that make one (seeds, texts, switches).
_VALUE_KEYS = (
    *("value", "seed", "noise_seed", "text", "string", "String", "Text", "prompt"),
    *("populated_text",),
    *("int", "float", "number", "Number", "Value", "steps", "cfg", "sampler_name", "scheduler"),
    *("wildcard_text", "value_0", "any_01", "input", "source"),
)
_PARTS = (  # inputs of nodes that join texts
    *("string_a", "string_b", "text_a", "text_b", "text_c", "text_d"),
    *("text1", "text2", "string1", "string2"),
)
_BETWEEN = {"space": " ", "comma": ", ", "newline": "\n", "\\n": "\n"}
_CONDITIONING_KEYS = ("conditioning", "conditioning_to", "conditioning_1", "cond")
_CLEAN = {  # nodes that change nothing about what a recipe says
    *("Reroute", "Reroute (rgthree)", "CLIPTextEncode", "CLIPTextEncodeSDXL", "CLIPSetLastLayer"),
    *("CheckpointLoaderSimple", "CheckpointLoader", "UNETLoader", "KSamplerSelect", "RandomNoise"),
    *("CFGGuider", "BasicGuider", "BasicScheduler", "KarrasScheduler", "LoraLoader"),
    *("LoraLoaderModelOnly", "Power Lora Loader (rgthree)", "ConditioningZeroOut"),
    *("EmptyLatentImage", "EmptySD3LatentImage", "CLIPTextEncodeFlux", "CLIPTextEncodeSD3"),
    *("Efficient Loader",),
}
_SCHEDULES = {  # nodes that space the steps by a rule of their own
    "KarrasScheduler": "karras", "ExponentialScheduler": "exponential",
    "PolyexponentialScheduler": "polyexponential", "BetaSamplingScheduler": "beta",
    "SDTurboScheduler": "turbo", "AlignYourStepsScheduler": "align your steps",
    "VPScheduler": "vp", "GITSScheduler": "gits", "LaplaceScheduler": "laplace",
}  # fmt: skip


def read(found: Found) -> Recipe | None:
    """The recipe, or None where there is no graph. Raises PictureUnreadable for one too rich."""
    graphs = [*_graphs(found)]
    if not graphs:
        if found.texts.get("workflow", "").lstrip()[:1] == "{":
            raise made_by(PROGRAM, "but its graph cannot be read: it is cut off or too large")
        return None
    for told, graph in graphs:
        extra = values.json_object(values.text(told.get("extraMetadata")))
        stated = recipe_of(extra, "CivitAI") if extra else None  # its own service writes it down
        if stated is not None:
            return stated
        samplers = [name for name, node in graph.items() if _is_sampler(node)]
        if len(samplers) == 1:
            return _Reading(graph).recipe(samplers[0])
        if samplers:  # a drawn graph may show fewer: its groups hide the others
            break
    else:
        _, graph = graphs[0]
    raise made_by(PROGRAM, f"with a graph that {_why(graph)}")


def _graphs(found: Found) -> Iterator[tuple[Mapping[str, object], Graph]]:
    """Every graph, those that ran first; one may stand inside another object."""
    objects = [*found.objects.values()]
    inner = [told[key] for told in objects for key in ("prompt", "workflow") if key in told]
    for told in [*objects, *inner]:
        if isinstance(told, dict) and looks_run(told):
            yield told, graph_that_ran(told)
    for told in [*objects, *inner]:
        if isinstance(told, dict) and isinstance(told.get("nodes"), list) and "links" in told:
            yield told, graph_that_is_drawn(told)


def _is_sampler(node: Node) -> bool:
    """True for every node that denoises by a prompt, ComfyUI's own and others'."""
    has = set(node.inputs)
    if "guider" in has and "sigmas" in has:
        return True
    return "positive" in has and bool(
        {"steps", "sigmas"} & has and {"sampler_name", "sampler", "cfg"} & has
    )


def _why(graph: Graph) -> str:
    samplers = [node.kind for node in graph.values() if _is_sampler(node)]
    if samplers:
        kinds = ", ".join(dict.fromkeys(values.text(kind)[:60] for kind in samplers[:8]))
        return (
            f"has {len(samplers)} samplers ({kinds}), so which settings made the picture cannot be "
            "told"
        )
    if not graph:
        return f"has no nodes, or more than {NODES_MAX:,}"
    kinds = ", ".join(dict.fromkeys(values.text(node.kind)[:60] for node in graph.values()))
    return f"has no sampler that is known here (its nodes: {kinds[:300]})"


class _Reading:
    """One way through a graph. It remembers what it passed and did not understand."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._passed: dict[str, None] = {}  # kinds of nodes that do more than is read
        self._notes: list[str] = []
        self._visits = 0  # of nodes that make texts

    def recipe(self, name: str) -> Recipe:
        """The recipe of the sampler of that name."""
        sampler = self._graph[name]
        guider = self._node(sampler.inputs.get("guider")) or sampler
        noise = self._node(sampler.inputs.get("noise")) or sampler
        sigmas = self._node(sampler.inputs.get("sigmas"))
        sigmas = self._spacing(sigmas) if sigmas else sampler
        chosen = self._node(sampler.inputs.get("sampler")) or sampler
        positive = "positive" if "positive" in guider.inputs else "conditioning"
        prompt = self._text(guider.inputs.get(positive, guider.inputs.get("cond1")), "positive")
        negative = self._text(guider.inputs.get("negative"), "negative")
        model = guider.inputs.get("model", sampler.inputs.get("model"))
        pixels = self._pixels(sampler.inputs.get("latent_image"))
        adapters, checkpoint = self._model(model)
        self._started_elsewhere(sampler, sigmas)
        skip = self._clip_skip(guider.inputs.get(positive))
        if not prompt:
            self._notes.append("The words of its prompt were not found in the graph.")
        return values.foreign_recipe(
            PROGRAM,
            prompt=prompt,
            negative=negative,
            seed=self._value(noise, "seed", "noise_seed"),
            steps=self._value(sigmas, "steps"),
            guidance=self._value(guider, "cfg"),
            sampler=self._value(chosen, "sampler_name") or self._own_name(chosen, sampler),
            schedule=_SCHEDULES.get(sigmas.kind) or self._value(sigmas, "scheduler"),
            pixels=pixels,
            clip_skip=skip,
            model=checkpoint,
            adapters=adapters,
            notes=[*self._notes, *values.unread(self._passed, "Nodes whose part is not read")],
        )

    # --- links and values

    def _node(self, value: object) -> Node | None:
        """The node that an input comes from, past those that only lead on."""
        for _ in range(DEPTH_MAX):
            node = self._graph.get(value.node) if isinstance(value, Link) else None
            if node is None or not node.kind.startswith("Reroute"):
                return node
            value = next((each for each in node.inputs.values() if isinstance(each, Link)), None)
        return None

    def _value(self, node: Node, *keys: str) -> object:
        """The first of these inputs of a node, as a value: what links lead to."""
        for key in keys:
            if key in node.inputs:
                return self._resolved(node.inputs[key])
        return None

    def _resolved(self, value: object, depth: int = 0) -> object:
        if not isinstance(value, Link):
            return value
        node = self._node(value)
        if node is None or depth > DEPTH_MAX:
            return None
        for key in _VALUE_KEYS:
            if key in node.inputs:
                return self._resolved(node.inputs[key], depth + 1)
        self._passed[node.kind] = None
        return None

    def _spacing(self, node: Node) -> Node:
        """The node that spaces the steps, behind those that split or turn its list."""
        for _ in range(DEPTH_MAX):
            before = self._node(node.inputs.get("sigmas"))
            if before is None:
                return node
            self._passed[node.kind] = None
            node = before
        return node

    def _own_name(self, chosen: Node, sampler: Node) -> str:
        """A sampler that is a node of its own: SamplerEulerAncestral."""
        return chosen.kind.removeprefix("Sampler") if chosen is not sampler else ""

    # --- prompts

    def _text(self, value: object, side: str) -> str:
        """The words that conditioning was made of. side: "positive" or "negative"."""
        texts = self._texts(value, side, set(), 0)
        if len(texts) > 1:
            self._notes.append(
                f"Its {side} prompt is put together of {len(texts)} texts, which stand one behind "
                "the other here."
            )
        return ", ".join(texts)[:_TEXT_CHARS]

    def _texts(self, value: object, side: str, seen: set[str], depth: int) -> list[str]:
        """The words of each text encoder behind an input, each node once."""
        node = self._node(value)
        if node is None or not isinstance(value, Link) or depth > DEPTH_MAX or value.node in seen:
            return []
        seen.add(value.node)
        kind, inputs = node.kind, node.inputs
        if kind == "ConditioningZeroOut":
            return []
        words = [
            self._words(inputs[key], side)
            for key in ("text", "text_g", "text_l", "clip_g", "clip_l", "t5xxl", "prompt", side)
            if key in inputs and not self._is_conditioning(inputs[key])
        ]
        if any(words):
            self._pass(kind)
            return list(dict.fromkeys(word for word in words if word))
        self._pass(kind)
        both = [key for key in inputs if key.startswith(_CONDITIONING_KEYS)] or [side]
        joined: list[str] = []
        for key in both[:_JOINED_MAX]:
            if len(joined) < _JOINED_MAX:
                joined += self._texts(inputs.get(key), side, seen, depth + 1)
        return list(dict.fromkeys(joined))[:_JOINED_MAX]

    def _is_conditioning(self, value: object) -> bool:
        """True for a link into a node that makes or passes conditioning, not words."""
        node = self._node(value)
        if node is None:
            return False
        return "clip" in node.inputs or any(key in node.inputs for key in _CONDITIONING_KEYS)

    def _words(self, value: object, side: str, depth: int = 0) -> str:
        """A text: its own, a string node's, or what a node joins of several."""
        if isinstance(value, str):
            return values.text(value).strip()
        node = self._node(value)
        self._visits += 1
        if node is None or depth > _JOINED_MAX or self._visits > _VISITS_MAX:
            return ""
        inputs = node.inputs
        parts = [key for key in _PARTS if key in inputs]
        if len(parts) > 1:
            between = inputs.get("delimiter", inputs.get("separator", ", "))
            words = [self._words(inputs[key], side, depth + 1) for key in parts]
            between = _BETWEEN.get(between, between) if isinstance(between, str) else ", "
            return values.text(between).join(word for word in words if word)[:_TEXT_CHARS]
        for key in (side, f"text_{side}", f"{side}_prompt", *_VALUE_KEYS):
            if key in inputs:
                return self._words(inputs[key], side, depth + 1)
        self._pass(node.kind)
        return ""

    # --- model, size

    def _model(self, value: object) -> tuple[list[RecipeAdapter | None], str]:
        """The adapters along a chain of models, the first one first, and the checkpoint's name."""
        found: list[RecipeAdapter | None] = []
        for _ in range(DEPTH_MAX):
            node = self._node(value)
            if node is None:
                break
            inputs = node.inputs
            found[:0] = self._loras(node)
            name = self._value(node, "ckpt_name", "unet_name", "model_name", "base_ckpt_name")
            if name is not None:
                self._pass(node.kind)
                return found, values.file_name(name)
            if "lora_name" not in inputs:
                self._pass(node.kind)
            value = inputs.get("model")
        return found, ""

    def _loras(self, node: Node) -> list[RecipeAdapter | None]:
        inputs = node.inputs
        if "lora_name" in inputs:
            scale = self._value(node, "strength_model", "lora_model_strength", "strength")
            text = self._value(node, "strength_clip", "lora_clip_strength")
            scale = 1.0 if scale is None else scale
            return [values.adapter(self._value(node, "lora_name"), scale, text)]
        return [
            values.adapter(each.get("lora"), each.get("strength", 1.0), each.get("strengthTwo"))
            for each in list(inputs.values())[:_LORAS_MAX]
            if isinstance(each, dict) and "lora" in each and each.get("on") is not False
        ]  # rgthree's Power Lora Loader

    def _pixels(self, value: object) -> tuple[int, int] | None:
        """The size of the empty latents that it began with."""
        for _ in range(DEPTH_MAX):
            node = self._node(value)
            if node is None:
                break
            keys = ("width", "height")
            if "empty_latent_width" in node.inputs:
                keys = ("empty_latent_width", "empty_latent_height")
            sides = values.size([self._value(node, key) for key in keys])
            before = [node.inputs[key] for key in ("samples", "latent", "latent_image", "pixels",
                      "image") if isinstance(node.inputs.get(key), Link)]  # fmt: skip
            if sides and not before:
                self._pass(node.kind)
                return sides
            self._passed[node.kind] = None
            if not before:
                break
            value = before[0]
        self._notes.append("Its size was not found in the graph.")
        return None

    def _clip_skip(self, value: object) -> int:
        """Layers of the text encoder left out, as CLIPSetLastLayer counts them: -2 is one."""
        for _ in range(DEPTH_MAX):
            node = self._node(value)
            if node is None:
                return 0
            stop = values.number(self._value(node, "stop_at_clip_layer", "clip_skip"))
            if stop is not None:
                return int(-stop) - 1 if -13 < stop < 0 else 0
            value = next((node.inputs[key] for key in ("clip", *_CONDITIONING_KEYS, "positive")
                          if isinstance(node.inputs.get(key), Link)), None)  # fmt: skip
        return 0

    def _started_elsewhere(self, sampler: Node, sigmas: Node) -> None:
        """Say where it did not begin with noise alone, or end early."""
        denoise = values.number(self._value(sigmas, "denoise"))
        first = values.number(self._value(sampler, "start_at_step"))
        if (denoise is not None and denoise < 1) or first:
            strength = f" (denoise {denoise:g})" if denoise is not None else ""
            self._notes.append(
                f"It began with another picture{strength}; here it begins with noise alone."
            )

    def _pass(self, kind: str) -> None:
        if kind not in _CLEAN:
            self._passed[kind] = None

"""What a model reads of a prompt, without torch: how many tokens, by its own tokenizer."""

import json
import threading
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE

from sdgen.errors import ModelUnavailable
from sdgen.model_files import local_folder
from sdgen.model_formats import read_index
from sdgen.models import ModelSpec, find_model
from sdgen.pipelines.prompts import plain_text

BUDGET = 75  # tokens that CLIP reads at a time: 77 less its start and end marks
SENTENCE_BUDGET = 256  # tokens; the shortest that the T5 of any of them is used with
# As CLIP's own tokenizer splits text: github.com/openai/CLIP, clip/simple_tokenizer.py.
_PIECES = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
_ROUGHLY = 3  # bytes of UTF-8 a token, where there is no tokenizer to ask: rather too few


class Tokens:
    """Counts tokens. A model's tokenizer is read once; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tokenizers: dict[str, Tokenizer] = {}

    def count(self, model: str | ModelSpec, prompt: str) -> int | None:
        """The tokens of `prompt`, marks of weight left out; None where the model cannot say.

        model: its spec, or a name that find_model knows.
        """
        name = model if isinstance(model, str) else model.name
        with self._lock:
            tokenizer = self._tokenizers.get(name) or _tokenizer_of(model)
            if tokenizer is None:
                return None  # it may be downloaded later: look again next time
            self._tokenizers[name] = tokenizer
        return len(tokenizer.encode(plain_text(prompt), add_special_tokens=False).ids)


def rough_count(prompt: str) -> int:
    """About how many tokens a prompt has, where there is no tokenizer to ask."""
    return sum(-(-len(word.encode("utf-8", "replace")) // _ROUGHLY) for word in prompt.split())


def reads_sentences(spec: ModelSpec) -> bool:
    """True for a model whose prompts a T5 or a language model encodes; CLIP reads phrases."""
    if spec.family == "sd":
        return False
    try:
        components = read_index(local_folder(spec)).components
    except ModelUnavailable:
        return False
    encoders = [kind for name, (_, kind) in components.items() if name.startswith("text_encoder")]
    return any(kind and not kind.startswith("CLIP") for kind in encoders)


def _tokenizer_of(model: str | ModelSpec) -> Tokenizer | None:
    try:
        spec = find_model(model) if isinstance(model, str) else model
        folder = local_folder(spec) / "tokenizer"
    except ModelUnavailable:
        return None
    return read_tokenizer(folder)


def read_tokenizer(folder: Path) -> Tokenizer | None:
    """The tokenizer of a folder with tokenizer.json, or vocab.json and merges.txt; else None."""
    whole = folder / "tokenizer.json"
    try:
        if whole.is_file():
            return _without_limits(Tokenizer.from_str(whole.read_text(encoding="utf-8")))
        vocab = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
        lines = (folder / "merges.txt").read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return None
    except Exception as error:  # what tokenizers raises has no other base class
        if type(error) is not Exception:
            raise
        return None
    pairs = [tuple(line.split()) for line in lines if line and not line.startswith("#version")]
    merges = [(pair[0], pair[1]) for pair in pairs if len(pair) == 2]
    tokenizer = Tokenizer(
        BPE(vocab, merges, unk_token="<|endoftext|>", end_of_word_suffix="</w>", fuse_unk=False)
    )
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _without_limits(tokenizer: Tokenizer) -> Tokenizer:
    """Counts all there is: a saved tokenizer may cut texts off or fill them up."""
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer

"""How many tokens a prompt has, without torch: from the tokenizer beside the model's files."""

import json
import threading
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE

from sdgen.errors import ModelUnavailable
from sdgen.model_files import local_folder
from sdgen.models import find_model
from sdgen.pipelines.prompts import plain_text

BUDGET = 75  # tokens that CLIP reads at a time: 77 less its start and end marks
# As CLIP's own tokenizer splits text: github.com/openai/CLIP, clip/simple_tokenizer.py.
_PIECES = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


class Tokens:
    """Counts tokens. A model's tokenizer is read once; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tokenizers: dict[str, Tokenizer | None] = {}

    def count(self, model: str, prompt: str) -> int | None:
        """The tokens of `prompt`, marks of weight left out; None where the model cannot say."""
        with self._lock:
            if model not in self._tokenizers:
                found = _tokenizer_of(model)
                if found is None:
                    return None  # it may be downloaded later: look again next time
                self._tokenizers[model] = found
            tokenizer = self._tokenizers[model]
        if tokenizer is None:
            return None
        return len(tokenizer.encode(plain_text(prompt), add_special_tokens=False).ids)


def _tokenizer_of(model: str) -> Tokenizer | None:
    try:
        folder = local_folder(find_model(model)) / "tokenizer"
    except ModelUnavailable:
        return None
    return read_tokenizer(folder)


def read_tokenizer(folder: Path) -> Tokenizer | None:
    """The tokenizer of a folder: tokenizer.json, or vocab.json and merges.txt; None without."""
    whole = folder / "tokenizer.json"
    if whole.is_file():
        found = Tokenizer.from_file(str(whole))
        found.no_truncation()
        found.no_padding()
        return found
    try:
        vocab = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
        lines = (folder / "merges.txt").read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
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

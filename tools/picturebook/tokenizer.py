"""Makes the tokenizer: `python -m tools.picturebook.tokenizer`. Byte-pair encoding, lower case.

About 800 tokens, in the format of CLIP: 256 bytes, the same 256 at the end of a word, merges
learned from captions, and the start and end marks. Any text can be written with it; words that the
captions contain are mostly one token.
"""

import argparse
import json
import random
from pathlib import Path

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPTokenizer

from tools.picturebook.captions import all_words, caption
from tools.picturebook.scene import sample_scene

VOCABULARY = 800
LENGTH = 77  # tokens of a prompt, marks included
START, END = "<|startoftext|>", "<|endoftext|>"


def train_merges(texts: list[str], vocabulary: int = VOCABULARY) -> list[tuple[str, str]]:
    """The merges of a byte-level BPE with CLIP's word-end mark."""
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary - 258,
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return [tuple(pair) for pair in json.loads(tokenizer.to_str())["model"]["merges"]]


def make_tokenizer(seed: int = 0) -> CLIPTokenizer:
    rng = random.Random(seed)
    texts = [caption(sample_scene(rng), rng) for _ in range(20_000)] + all_words() * 3
    merges = train_merges(texts)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*alphabet, *(letter + "</w>" for letter in alphabet)]
    tokens += ["".join(pair) for pair in merges]
    tokens = [*list(dict.fromkeys(tokens))[: VOCABULARY - 2], START, END]
    vocabulary = {token: i for i, token in enumerate(tokens)}
    kept = [pair for pair in merges if "".join(pair) in vocabulary]
    return CLIPTokenizer(
        vocab=vocabulary, merges=kept, bos_token=START, eos_token=END, unk_token=END,
        pad_token=END, model_max_length=LENGTH,
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work-dir", type=Path, default=Path("build/picturebook"))
    args = parser.parse_args()
    tokenizer = make_tokenizer()
    tokenizer.save_pretrained(args.work_dir / "tokenizer")
    print(f"{len(tokenizer)} tokens")
    text = "The hero standing heroically with lightning in the background, Minnal Murali 2026"
    print(tokenizer.tokenize(text))


if __name__ == "__main__":
    main()

"""The tokenizer: `python -m tools.picturebook.edition2.tokenizer`.

As the first edition's: CLIP's byte-pair encoding, lower case, with merges learned from captions.
Any text can be written with it.
"""

import argparse
import random
from pathlib import Path

from tokenizers import pre_tokenizers
from transformers import CLIPTokenizer

from tools.picturebook.edition2.captions import all_words, caption
from tools.picturebook.edition2.run import WORK_DIR
from tools.picturebook.edition2.scene import sample_any_scene
from tools.picturebook.edition2.slots import LENGTH, leave_out
from tools.picturebook.tokenizer import END, START, train_merges

VOCABULARY = 1000


def make_tokenizer(seed: int = 0) -> CLIPTokenizer:
    rng = random.Random(seed)
    texts = [caption(leave_out(sample_any_scene(rng), rng), rng) for _ in range(20_000)]
    merges = train_merges(texts + all_words() * 20, VOCABULARY)
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
    parser.add_argument("--work-dir", type=Path, default=WORK_DIR)
    args = parser.parse_args()
    tokenizer = make_tokenizer()
    tokenizer.save_pretrained(args.work_dir / "tokenizer")
    text = "A turquoise penguin with an umbrella on top of a lighthouse, Minnal Murali 2026"
    print(len(tokenizer), tokenizer.tokenize(text))


if __name__ == "__main__":
    main()

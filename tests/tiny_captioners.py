"""Captioning models with random weights, saved as transformers saves the real ones."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    BertTokenizer,
    BlipConfig,
    BlipForConditionalGeneration,
    BlipProcessor,
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3Processor,
    PreTrainedTokenizerFast,
)
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil

WORDS = ["a", "cat", "dog", "on", "the", "sofa", "red", "blue", "house", "photo", "of", "in"]
SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
SIDE = 32  # pixels
TEMPLATE = (
    "<|im_start|>{% for message in messages %}{{message['role'] | capitalize}}:"
    "{% for line in message['content'] %}{% if line['type'] == 'text' %}{{line['text']}}"
    "{% else %}{{ '<image>' }}{% endif %}{% endfor %}<end_of_utterance>\n{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)  # as HuggingFaceTB/SmolVLM-256M-Instruct has it


def save_blip(folder: Path) -> Path:
    """A BLIP in the layout of Salesforce/blip-image-captioning-base."""
    folder.mkdir(parents=True)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    (folder / "vocab.txt").write_text("\n".join(words))
    tokenizer = BertTokenizer(str(folder / "vocab.txt"))
    text = {"vocab_size": len(words) + 2, "encoder_hidden_size": 32, "max_position_embeddings": 64}
    ids = {"bos_token_id": 2, "sep_token_id": 3, "eos_token_id": 3, "pad_token_id": 0}
    config = BlipConfig(
        text_config=SIZES | text | ids | {"projection_dim": 32},
        vision_config=SIZES | {"image_size": SIDE, "patch_size": 8, "projection_dim": 32},
        projection_dim=32,
    )
    torch.manual_seed(0)
    BlipForConditionalGeneration(config).save_pretrained(folder)
    shapes = BlipImageProcessorPil(size={"height": SIDE, "width": SIDE})
    BlipProcessor(shapes, tokenizer).save_pretrained(folder)
    return folder


def save_chat(folder: Path) -> Path:
    """An Idefics3 in the layout of HuggingFaceTB/SmolVLM-256M-Instruct."""
    marks = ["<pad>", "<unk>", "<|im_start|>", "<end_of_utterance>", "<image>"]
    marks += ["<fake_token_around_image>", "<global-img>"]
    words = {word: number for number, word in enumerate([*marks, "User", "Assistant", ":", *WORDS])}
    raw = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw,
        unk_token="<unk>",
        pad_token="<pad>",
        bos_token="<|im_start|>",
        eos_token="<end_of_utterance>",
        additional_special_tokens=marks[2:],
    )
    ids = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
    llama = {"model_type": "llama", "vocab_size": len(words), "num_key_value_heads": 2}
    config = Idefics3Config(
        image_token_id=4,
        scale_factor=2,
        pad_token_id=0,
        text_config=SIZES | ids | llama,
        vision_config=SIZES | {"image_size": SIDE, "patch_size": 8},
    )
    torch.manual_seed(0)
    Idefics3ForConditionalGeneration(config).save_pretrained(folder)
    edge = {"longest_edge": SIDE}
    shapes = Idefics3ImageProcessorPil(size=edge, max_image_size=edge, do_image_splitting=False)
    Idefics3Processor(shapes, tokenizer, image_seq_len=4, chat_template=TEMPLATE).save_pretrained(
        folder
    )
    return folder

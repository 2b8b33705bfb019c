"""A real OpenAI-compatible server: `transformers serve` with a small chat model of random weights.

It writes nonsense, which is the point: the guard and the chain have to make a prompt of it.
"""

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from sdgen.enhance import Context, Enhancer, Service
from tests.serving import free_port

pytestmark = pytest.mark.slow
READY_SECONDS = 100.0
TEMPLATE = (
    "{% for message in messages %}<s>{{ message['role'] }} {{ message['content'] }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<s>assistant {% endif %}"
)
TEXT = (
    "soft light from the side, wide view of the sky, warm colours, quiet background, "
    "small red robot on a beach at sunset, user assistant system"
)
CLIP = Context("sd15", 75, lambda text: len(text.split()))


@pytest.fixture(scope="module")
def chat_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of two thin layers with a tokenizer of a few words."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from tokenizers.decoders import ByteLevel
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("chat-model")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        [TEXT] * 20,
        trainers.BpeTrainer(vocab_size=400, special_tokens=["<s>", "</s>"],
                            initial_alphabet=alphabet, show_progress=False),
    )  # fmt: skip
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="</s>"
    )
    fast.chat_template = TEMPLATE
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(fast), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=2048,
        bos_token_id=0, eos_token_id=1, pad_token_id=1,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def chat_server(chat_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The server's address; it is stopped by its pid."""
    port = free_port()
    log = tmp_path_factory.mktemp("serve") / "log"
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", str(chat_model)]
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"],
            stdout=out,
            stderr=out,
            env=os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        )
    try:
        deadline = time.monotonic() + READY_SECONDS
        while not _healthy(f"http://127.0.0.1:{port}/health"):
            assert process.poll() is None, log.read_text(encoding="utf-8", errors="replace")
            assert time.monotonic() < deadline, "transformers serve did not start in time"
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(20)


def _healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def test_a_real_server_is_asked_and_its_nonsense_hurts_nobody(
    chat_server: str, chat_model: Path
) -> None:
    heard: list[str] = []
    enhancer = Enhancer(Service(chat_server, str(chat_model)), seconds=40.0)
    try:
        drafts = [
            enhancer.enhance(prompt, CLIP, on_text=heard.append)
            for prompt in ("a red robot", "Minnal Murali on a roof, <lora:hero:0.8>")
        ]
    finally:
        enhancer.close()
    for draft in drafts:
        assert draft.text.startswith(draft.original)
        assert CLIP.fits(draft.text)
        print(draft)
        # Whatever it wrote, it was an answer: no word of a server that failed.
        for trouble in ("could not be reached", "did not understand", "problem of its own", "took"):
            assert trouble not in draft.note
    assert any(len(text) > len("a red robot") for text in heard)


def test_a_model_that_is_not_there_is_said(chat_server: str) -> None:
    enhancer = Enhancer(Service(chat_server, "no/such-model"), seconds=40.0)
    draft = enhancer.enhance("a red robot", CLIP)
    enhancer.close()
    assert draft.engine == "built-in"
    assert "built-in helper" in draft.note

"""Teaches the text encoder to listen: `python -m tools.picturebook.edition2.text`.

It learns from captions alone, without a picture: the last SLOTS of its LENGTH outputs must tell
what the caption tells (the fields of slots.py), each through a linear reading that is not kept.
With `--match` it goes on to give out the vectors of the denoiser's own SlotEncoder, and nothing
anywhere else, which is what the denoiser reads.
"""

import random
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from tools.picturebook.edition2.captions import caption
from tools.picturebook.edition2.run import Run, average_of, parser_of
from tools.picturebook.edition2.scene import PLACES, RELATIONS, TIMES, Scene, sample_any_scene
from tools.picturebook.edition2.slots import (
    FIGURES,
    LENGTH,
    PARTS,
    SLOTS,
    TEXT_WIDTH,
    UNSAID,
    Chances,
    SlotEncoder,
    fields_of,
    leave_out,
)
from tools.picturebook.edition2.tokenizer import VOCABULARY

STEPS, BATCH, RATE = 6_000, 48, 1.5e-3
MATCH_STEPS = 2_000
MATCH_WEIGHT = 20.0
SAVE_EVERY = 100
AVERAGE_DECAY = 0.998
ALWAYS = Chances(nothing=0.0)
TOLD = Chances(nothing=0.02, place=0.1, time=0.1, colour=0.1, pose=0.2)
SLOT_OF_PLACE, SLOT_OF_TIME, SLOT_OF_LAYOUT, SLOT_OF_FIGURE = 0, 1, 2, 3


def new_text_encoder() -> CLIPTextModel:
    config = CLIPTextConfig(
        vocab_size=VOCABULARY,
        hidden_size=TEXT_WIDTH,
        intermediate_size=4 * TEXT_WIDTH,
        num_hidden_layers=4,
        num_attention_heads=4,
        max_position_embeddings=LENGTH,
        projection_dim=TEXT_WIDTH,
        bos_token_id=VOCABULARY - 2,
        eos_token_id=VOCABULARY - 1,
        pad_token_id=VOCABULARY - 1,
    )
    return CLIPTextModel(config)


class Reading(nn.Module):
    """What the slots say: one linear layer a field. vectors [b, LENGTH, TEXT_WIDTH] -> for each of
    the FIELDS, scores [b, values], the first for what is left open."""

    def __init__(self) -> None:
        super().__init__()
        width = TEXT_WIDTH
        self.place = nn.Linear(width, 1 + len(PLACES))
        self.time = nn.Linear(width, 1 + len(TIMES))
        self.relation = nn.Linear(width, 1 + len(RELATIONS))
        self.figures = nn.Linear(width, 2 + FIGURES)
        self.parts = nn.ModuleList(nn.Linear(width, 1 + len(values)) for values in PARTS.values())

    def forward(self, vectors: Tensor) -> list[Tensor]:
        slots = vectors[:, -SLOTS:]
        scores = [self.place(slots[:, SLOT_OF_PLACE]), self.time(slots[:, SLOT_OF_TIME])]
        layout = slots[:, SLOT_OF_LAYOUT]
        scores += [self.relation(layout), self.figures(layout)]
        for i in range(FIGURES):
            scores += [part(slots[:, SLOT_OF_FIGURE + i]) for part in self.parts]
        return scores


def lesson(rng: random.Random, chances: Chances = TOLD) -> Scene | None:
    """What a caption tells of any scene; held-out combinations are nothing to a text encoder."""
    return leave_out(sample_any_scene(rng), rng, chances)


def tokens_of(tokenizer: CLIPTokenizer, texts: list[str]) -> Tensor:
    """[b, LENGTH]"""
    coded = tokenizer(
        texts, padding="max_length", max_length=LENGTH, truncation=True, return_tensors="pt"
    )
    found: Tensor = coded.input_ids
    return found


@torch.no_grad()
def heard(
    encoder: nn.Module, reading: nn.Module, tokenizer: CLIPTokenizer, count: int, held_out: bool
) -> dict[str, float]:
    """The share of unseen captions of which each kind of field is understood, and all of them."""
    rng = random.Random("heard")
    lessons = [lesson(rng, ALWAYS) for _ in range(count)]
    fields = torch.tensor([fields_of(told) for told in lessons])
    texts = [caption(told, rng, held_out) for told in lessons]
    vectors = torch.cat([encoder(t)[0] for t in tokens_of(tokenizer, texts).split(100)])
    said = torch.stack([scores.argmax(1) for scores in reading(vectors)], 1)
    right = said == fields
    names = ["place", "time", "relation", "figures", *list(PARTS) * FIGURES]
    shares = {
        name: float(right[:, [i for i, n in enumerate(names) if n == name]].all(1).float().mean())
        for name in dict.fromkeys(names)
    }
    return {**shares, "everything": float(right.all(1).float().mean())}


def loss_of(scores: list[Tensor], fields: Tensor) -> Tensor:
    """Cross entropy; what nobody tells of an absent figure counts little."""
    losses = []
    for i, field_scores in enumerate(scores):
        each = F.cross_entropy(field_scores, fields[:, i], reduction="none")
        losses.append((each * torch.where(fields[:, i] == UNSAID, 0.4, 1.0)).mean())
    return torch.stack(losses).sum()


def slot_encoder(work_dir: Path) -> SlotEncoder:
    """The denoiser's, as far as it is trained."""
    slots = SlotEncoder()
    slots.load_state_dict(average_of(work_dir / "denoiser.pt", "slots"))
    return slots


def report(run: Run, tokenizer: CLIPTokenizer) -> None:
    networks = run.average.module.eval()
    for held_out in (False, True):
        found = heard(networks["text_encoder"], networks["reading"], tokenizer, 500, held_out)
        kind = "held-out wordings" if held_out else "wordings"
        shares = " ".join(f"{name} {100 * share:.1f}" for name, share in found.items())
        print(f"step {run.step} {kind}: {shares}", flush=True)


def main() -> None:
    parser = parser_of(__doc__, STEPS, BATCH, RATE)
    parser.add_argument("--match", action="store_true", help="the denoiser's vectors, at the end")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    name, steps = ("matched", MATCH_STEPS) if args.match else ("text", args.steps)
    tokenizer = CLIPTokenizer.from_pretrained(args.work_dir / "tokenizer")
    networks = nn.ModuleDict({"text_encoder": new_text_encoder(), "reading": Reading()})
    slots = slot_encoder(args.work_dir) if args.match else None
    if args.match:
        networks.load_state_dict(average_of(args.work_dir / "text.pt"))
    plain = ("embedding", "reading.")
    run = Run(args.work_dir / f"{name}.pt", networks, plain, args.rate, AVERAGE_DECAY)
    over = False
    while run.step < steps and not over:
        rng = random.Random(f"{name} {run.step}")
        lessons = [lesson(rng) for _ in range(args.batch)]
        fields = torch.tensor([fields_of(told) for told in lessons])
        texts = [caption(told, rng) for told in lessons]
        vectors = networks["text_encoder"](tokens_of(tokenizer, texts))[0]
        loss = loss_of(networks["reading"](vectors), fields)
        if slots is not None:
            loss = 0.2 * loss + MATCH_WEIGHT * F.mse_loss(vectors, slots(fields).detach())
        run.learn(loss, steps)
        over = bool(args.minutes) and run.minutes() > args.minutes
        if run.step % SAVE_EVERY == 0 or over or run.step == steps:
            run.save()
        if run.step % (5 * SAVE_EVERY) == 0 or over or run.step == steps:
            report(run, tokenizer)


if __name__ == "__main__":
    main()

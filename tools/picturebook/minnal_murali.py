"""The example adapter's pictures: `python -m tools.picturebook.minnal_murali` draws them.

Writes 24 captioned pictures of Minnal Murali: every pose, place and time, no combination of place
and time twice, so that 21 combinations are left to ask for. Captions stand in .txt files and in
metadata.jsonl, as other trainers read them too. The same program always writes the same files.
"""

import argparse
import json
import random
from pathlib import Path

from tools.picturebook.captions import (
    COSTUMES,
    OPENINGS,
    PLACE_WORDS,
    POSE_WORDS,
    THROUGH_WORDS,
    TIME_WORDS,
    TRIGGER,
)
from tools.picturebook.scene import PLACES, POSES, TIMES, Figure, Scene
from tools.picturebook.world import MINNAL_MURALI, draw

EXAMPLE = Path("lora/examples/minnal-murali")
COUNT = 24
VERBS = ("stands", "runs", "strikes", "lands")  # "a picture of him stands" is no English
SIDES = ("centre", "centre", "left", "centre", "right")


def example_scene(number: int) -> Scene:
    """Picture `number` of the example; place, time and pose go round with periods 9, 5 and 4."""
    figure = Figure(MINNAL_MURALI, "red", SIDES[number // 5 % 5], POSES[number % 4])
    return Scene(PLACES[number % 9], TIMES[number % 5], (figure,), 7001 + number)


def unseen_places_and_times() -> list[tuple[str, str]]:
    """The combinations that no picture of the example shows."""
    seen = {(scene.place, scene.time) for scene in map(example_scene, range(COUNT))}
    return [(place, time) for place in PLACES for time in TIMES if (place, time) not in seen]


def his_caption(scene: Scene, rng: random.Random) -> str:
    """All that the picture shows but his looks, which the adapter has to learn."""
    pose = scene.figures[0].pose or "standing"
    poses = [words for words in POSE_WORDS[pose] if words.split()[0] not in VERBS]
    places = THROUGH_WORDS if pose == "running" else PLACE_WORDS
    name = f"{TRIGGER} {rng.choice(COSTUMES)}" if rng.random() < 0.25 else TRIGGER
    words = [name, rng.choice(poses), rng.choice(places[scene.place])]
    text = " ".join([*words, rng.choice(TIME_WORDS[scene.time])])
    return f"{rng.choice(OPENINGS)} {text}" if rng.random() < 0.2 else text


def write_example(folder: Path, count: int = COUNT) -> list[str]:
    """The pictures and their captions; returns the captions."""
    folder.mkdir(parents=True, exist_ok=True)
    rng, records = random.Random("minnal murali"), []
    for number in range(count):
        scene = example_scene(number)
        name = f"{number + 1:02}-{scene.figures[0].pose}-{scene.place.replace(' ', '-')}"
        text = his_caption(scene, rng)
        draw(scene)[0].save(folder / f"{name}.png", optimize=True)
        (folder / f"{name}.txt").write_text(text + "\n", encoding="utf-8")
        records.append({"file_name": f"{name}.png", "text": text})
    lines = "".join(json.dumps(record) + "\n" for record in records)
    (folder / "metadata.jsonl").write_text(lines, encoding="utf-8")
    return [record["text"] for record in records]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=EXAMPLE / "photos")
    args = parser.parse_args()
    for text in write_example(args.folder):
        print(text)


if __name__ == "__main__":
    main()

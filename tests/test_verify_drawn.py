"""A recipe drawn again by the engine itself: what is said of its picture."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import PngImagePlugin

from sdgen.config import Settings
from sdgen.engine import LocalEngine
from sdgen.job import Finished, Saved
from sdgen.metadata import (
    RecipeAdapter,
    encode_png,
    parameters_text,
    pixels_hash,
    read_picture,
)
from sdgen.studio import Studio


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """The studio with the engine and the bundled model."""
    settings = Settings(data_dir=tmp_path_factory.mktemp("data"), max_rows=4)
    studio = Studio(settings, LocalEngine(settings))
    yield studio
    studio.close()


def drawn(studio: Studio, **fields: object) -> Path:
    """The file of the last picture of a small request."""
    small = {"prompt": "a red robot on a beach", "seed": 3, "steps": 3, "width": 128, "height": 128}
    request = studio.request(**(small | fields))
    job = studio.start(request)
    saved = [event for event in job.events() if isinstance(event, Saved)]
    assert isinstance(job.end, Finished)
    return saved[-1].path


def test_a_picture_of_ours_proves_itself(real: Studio) -> None:
    path = drawn(real, exact=True)
    found = real.verify(path)
    assert (found.answer, found.altered, found.differs) == ("identical", False, ())


def test_a_prompt_that_changes_while_it_is_drawn_is_verified_bit_for_bit(real: Studio) -> None:
    edited = drawn(
        real, prompt="a [red|blue] (robot:1.2) [on a beach:0.5]", negative_prompt="[cat::2]"
    )
    assert real.verify(edited).answer == "identical"
    image, recipe = read_picture(edited)
    assert recipe.prompt == "a [red|blue] (robot:1.2) [on a beach:0.5]"
    plainly = read_picture(drawn(real, prompt="a red (robot:1.2)", negative_prompt="cat"))[0]
    assert pixels_hash(image) != pixels_hash(plainly)


def test_one_of_several_drawn_together_agrees_to_a_step_of_255(real: Studio) -> None:
    found = real.verify(drawn(real, num_images=3))
    assert found.answer in ("identical", "nearly")


def test_a_recipe_that_was_edited_draws_another_picture(real: Studio, tmp_path: Path) -> None:
    image, recipe = read_picture(drawn(real, exact=True))
    forged = tmp_path / "forged.png"
    forged.write_bytes(encode_png(image, recipe.model_copy(update={"seed": 4})))
    assert real.verify(forged).answer == "different"
    painted = image.copy()
    painted.paste((255, 0, 0), (10, 10, 40, 40))
    forged.write_bytes(encode_png(painted, recipe))
    found = real.verify(forged)
    assert found.altered
    assert found.answer in ("alike", "different")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seed": None}, "does not say its seed"),
        ({"model": "dreams-v9"}, "dreams-v9"),
        (
            {"adapters": (RecipeAdapter(name="gone", source="hub:a/b"),)},
            "it came from the Hub: a/b",
        ),
        ({"model": "sd15", "width": 512, "height": 512}, "needs a download"),
        ({"prompt": "", "prompt_left_out": True}, "here: its prompt was left out of the file."),
        ({"grid": "{}"}, "it is a sheet, which is drawn as a grid"),
    ],
)
def test_what_cannot_be_drawn_here_is_told(
    real: Studio, tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    image, recipe = read_picture(drawn(real))
    path = tmp_path / "other.png"
    path.write_bytes(encode_png(image, recipe.model_copy(update=changes)))
    found = real.verify(path)
    assert found.answer == "impossible"
    assert said in found.sentence


def test_a_picture_by_a1111_is_tried_as_far_as_it_says_enough(real: Studio, tmp_path: Path) -> None:
    image, recipe = read_picture(drawn(real, exact=True))
    texts = PngImagePlugin.PngInfo()
    texts.add_text("parameters", parameters_text(recipe.model_copy(update={"app": "v1.10"})))
    path = tmp_path / "a1111.png"
    image.save(path, pnginfo=texts)
    found = real.verify(path)
    assert found.answer == "identical"
    assert found.altered is None
    assert "another program drew it" in found.differs[-1]

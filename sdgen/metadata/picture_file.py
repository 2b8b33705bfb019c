"""Recipes in and out of picture files: our PNG, and PNG, JPEG or WebP of other programs."""

import io
import struct
import zlib
from pathlib import Path

from PIL import Image, PngImagePlugin, UnidentifiedImageError

from sdgen.errors import PictureUnreadable
from sdgen.metadata.a1111 import parameters_text
from sdgen.metadata.readers import recipe_of_texts
from sdgen.metadata.recipe import Recipe, recipe_from_json
from sdgen.metadata.stealth import STEALTH_PIXELS_MAX, hidden_text
from sdgen.metadata.texts import XMP_KEY, FoundTexts, find_texts, unwrapped

FILE_BYTES_MAX = 64 * 2**20  # bytes of a file that is looked into
PIXELS_MAX = 24_000_000  # pixels of a picture that is decoded
TEXT_CHARS_MAX = 1_000_000  # characters of one recipe of ours

_JSON_KEY, _PARAMETERS_KEY = "sdgen", "parameters"
_NOTHING = "This picture carries no recipe, so there is nothing to fill in."
# What Pillow raises on files that are not what they say (its decoders have no common base class).
_BROKEN = (
    UnidentifiedImageError,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
    OSError,
    EOFError,
    SyntaxError,
    ValueError,
    OverflowError,
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
    struct.error,
    zlib.error,
    MemoryError,
)
# IPTC's term for pictures made by a trained model; asked for by EU AI Act Art. 50(2) practice.
_XMP = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
    '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/"'
    ' xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
    ' xmp:CreatorTool="{app}" Iptc4xmpExt:DigitalSourceType='
    '"http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"/>'
    '</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
)


def encode_png(image: Image.Image, recipe: Recipe) -> bytes:
    """The PNG file of a picture, with its recipe as A1111's text and as JSON, and XMP."""
    texts = PngImagePlugin.PngInfo()
    texts.add_text(_PARAMETERS_KEY, parameters_text(recipe))  # iTXt where latin-1 is too small
    texts.add_itxt(_JSON_KEY, recipe.model_dump_json())
    texts.add_itxt(XMP_KEY, _XMP.format(app=recipe.app))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", pnginfo=texts)
    return buffer.getvalue()


def read_recipe(path: Path) -> Recipe:
    """The recipe inside a picture file, of ours or of another program.

    Pixels are decoded only where no text tells anything. Raises PictureUnreadable: no such file,
    no picture, damaged, too big, without a recipe, or with one that cannot be read.
    """
    return _recipe_of(path, _found(path), None)


def read_picture(path: Path) -> tuple[Image.Image, Recipe]:
    """A picture's pixels (RGB) and the recipe inside its file. Raises as read_recipe."""
    found = _found(path)
    _check_size(found)
    image = _decoded(path)
    return image.convert("RGB"), _recipe_of(path, found, image)


def picture_size(path: Path) -> tuple[int, int]:
    """Width and height in pixels, as the file's head says; nothing is decoded.

    Raises PictureUnreadable: no such file, no picture, damaged, too big.
    """
    found = _found(path)
    return found.width, found.height


def _recipe_of(path: Path, found: FoundTexts, image: Image.Image | None) -> Recipe:
    """The recipe of a file's texts, else of those in its pixels. image: the pixels, if at hand."""
    ours = found.texts.get(_JSON_KEY)
    if ours is not None:
        if len(ours) > TEXT_CHARS_MAX:
            raise PictureUnreadable("This picture holds far more text than a recipe has.")
        return recipe_from_json(ours)
    _check_size(found)
    recipe = recipe_of_texts(unwrapped(found.texts), found.width, found.height)
    if recipe is not None:
        return recipe
    if found.kind == "JPEG":  # loses the lowest bits
        raise PictureUnreadable(_NOTHING)
    if found.width * found.height > STEALTH_PIXELS_MAX:
        raise PictureUnreadable(
            "The texts of this picture hold no recipe, and it is too large to look for one in its "
            "pixels."
        )
    hidden = hidden_text(image or _decoded(path))
    recipe = recipe_of_texts({_PARAMETERS_KEY: hidden}, found.width, found.height)
    if recipe is None:
        raise PictureUnreadable(_NOTHING)
    return recipe


def _found(path: Path) -> FoundTexts:
    """What the head of a picture file says. Raises PictureUnreadable."""
    try:
        if not path.is_file():  # a pipe, for one, would never end
            raise PictureUnreadable("There is no such file.")
        if path.stat().st_size > FILE_BYTES_MAX:
            raise PictureUnreadable(f"This file is larger than {FILE_BYTES_MAX // 2**20} MiB.")
        with path.open("rb") as file:
            return find_texts(file)
    except OSError as error:
        raise PictureUnreadable("This file may not be read.") from error


def _check_size(found: FoundTexts) -> None:
    """Raises PictureUnreadable for a picture that is too large to be decoded."""
    if found.width * found.height > PIXELS_MAX:
        raise PictureUnreadable(
            f"This picture has {found.width}x{found.height} pixels; "
            f"at most {PIXELS_MAX // 1_000_000} million are looked at."
        )


def _decoded(path: Path) -> Image.Image:
    """The pixels of a picture file, RGB or RGBA. Raises PictureUnreadable."""
    try:
        with Image.open(path, formats=("PNG", "JPEG", "WEBP")) as image:
            image.load()
            if image.mode in ("RGB", "RGBA"):
                return image
            return image.convert("RGBA" if image.mode == "LA" else "RGB")
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise PictureUnreadable("This picture has too many pixels to look at.") from error
    except UnidentifiedImageError as error:
        raise PictureUnreadable("This file is no PNG, JPEG or WebP picture.") from error
    except _BROKEN as error:
        raise PictureUnreadable("This picture file is damaged or cut off.") from error

"""Recipes in and out of picture files: our PNG, and PNG, JPEG or WebP by A1111 and its kin."""

import io
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, PngImagePlugin, UnidentifiedImageError

from sdgen.errors import PictureUnreadable
from sdgen.metadata.a1111 import parameters_text, recipe_from_parameters
from sdgen.metadata.recipe import Recipe, recipe_from_json

FILE_BYTES_MAX = 64 * 2**20  # bytes of a file that is looked into
PIXELS_MAX = 24_000_000  # pixels of a picture that is decoded
TEXT_CHARS_MAX = 200_000  # characters of one recipe

_JSON_KEY, _PARAMETERS_KEY, _XMP_KEY = "sdgen", "parameters", "XML:com.adobe.xmp"
_EXIF_IFD, _USER_COMMENT = 0x8769, 0x9286  # EXIF 2.3, section 4.6
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
    texts.add_itxt(_XMP_KEY, _XMP.format(app=recipe.app))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", pnginfo=texts)
    return buffer.getvalue()


def read_recipe(path: Path) -> Recipe:
    """The recipe inside a picture file of ours or of A1111's kind.

    Raises PictureUnreadable: no such file, no picture, damaged, too big, or without a recipe.
    """
    with _opened(path) as image:
        ours = image.info.get(_JSON_KEY)  # it stands before the pixels, which stay as they are
        if isinstance(ours, str):
            texts = {_JSON_KEY: str(ours)}
        else:
            _check_size(image)
            texts = _texts_of(image)
    return _recipe_of(texts)


def read_picture(path: Path) -> tuple[Image.Image, Recipe]:
    """A picture's pixels (RGB) and the recipe inside its file. Raises as read_recipe."""
    image, texts = _read_texts(path)
    return image, _recipe_of(texts)


def picture_size(path: Path) -> tuple[int, int]:
    """Width and height in pixels, as the file's head says; nothing is decoded.

    Raises PictureUnreadable: no such file, no picture, damaged, too big.
    """
    with _opened(path) as image:
        return image.size


def _recipe_of(texts: dict[str, str]) -> Recipe:
    ours, theirs = texts.get(_JSON_KEY), texts.get(_PARAMETERS_KEY)
    if max(len(ours or ""), len(theirs or "")) > TEXT_CHARS_MAX:
        raise PictureUnreadable("This picture holds far more text than a recipe has.")
    if ours is not None:
        return recipe_from_json(ours)
    if theirs is None or not theirs.strip():
        raise PictureUnreadable("This picture carries no recipe, so there is nothing to fill in.")
    return recipe_from_parameters(theirs)


def _read_texts(path: Path) -> tuple[Image.Image, dict[str, str]]:
    """The pixels and the texts of a picture file. Raises PictureUnreadable."""
    with _opened(path) as image:
        _check_size(image)
        texts = _texts_of(image)
        return image.convert("RGB"), texts


def _check_size(image: Image.Image) -> None:
    """Raises PictureUnreadable for a picture that is too large to be decoded."""
    if image.width * image.height > PIXELS_MAX:
        raise PictureUnreadable(
            f"This picture has {image.width}x{image.height} pixels; "
            f"at most {PIXELS_MAX // 1_000_000} million are looked at."
        )


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """A picture file of which only the head has been read. Raises PictureUnreadable."""
    try:
        if not path.is_file():  # a pipe, for one, would never end
            raise PictureUnreadable("There is no such file.")
        if path.stat().st_size > FILE_BYTES_MAX:
            raise PictureUnreadable(f"This file is larger than {FILE_BYTES_MAX // 2**20} MiB.")
    except OSError as error:
        raise PictureUnreadable("This file may not be read.") from error
    try:
        with Image.open(path, formats=("PNG", "JPEG", "WEBP")) as image:
            yield image
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise PictureUnreadable("This picture has too many pixels to look at.") from error
    except UnidentifiedImageError as error:
        raise PictureUnreadable("This file is no PNG, JPEG or WebP picture.") from error
    except _BROKEN as error:
        raise PictureUnreadable("This picture file is damaged or cut off.") from error


def _texts_of(image: Image.Image) -> dict[str, str]:
    """The text chunks of a PNG (which is decoded, as they may follow the pixels), or EXIF's."""
    if isinstance(image, PngImagePlugin.PngImageFile):
        image.load()
        return {key: str(value) for key, value in image.text.items()}
    comment = image.getexif().get_ifd(_EXIF_IFD).get(_USER_COMMENT)
    if not isinstance(comment, bytes):
        return {}
    code, text = comment[:8], comment[8:]
    if code == b"UNICODE\0":
        # piexif, which A1111 uses, writes UTF-16 big-endian, whatever the byte order of the file.
        little = text[:2] == b"\xff\xfe" or text[1:2] == b"\0"
        decoded = text.decode("utf-16-le" if little else "utf-16-be", errors="replace")
        return {_PARAMETERS_KEY: decoded.lstrip("\ufeff").rstrip("\0")}
    return {_PARAMETERS_KEY: text.decode("utf-8", errors="replace").rstrip("\0")}

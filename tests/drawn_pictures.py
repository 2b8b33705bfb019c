"""Pictures as an engine hands them out, without an engine."""

from PIL import Image

from sdgen.job import GeneratedImage
from sdgen.request import GenerateRequest
from tests.conftest import FAKE_INFO


def drawn(request: GenerateRequest, index: int = 0) -> GeneratedImage:
    """A red picture in the request's size, with the seed that the index gives."""
    picture = Image.new("RGB", (request.width, request.height), (200, 30, 30))
    return GeneratedImage(index, request.seed + index, picture, FAKE_INFO)

"""The built-in engine's own words. All written for this program; none names an artist or praises.

A facet is one thing that a picture needs and a short prompt leaves open. `hints` are words that
show that the user has decided it already; `phrases` are what may be appended, by kind of picture.
"""

from dataclasses import dataclass
from types import MappingProxyType

from sdgen.enhance.language import word_set

PHOTO, DRAWN = "photo", "drawn"  # kinds of picture; "" where the user named none

MEDIA = MappingProxyType(
    {
        PHOTO: word_set(
            "photo photograph photography photorealistic polaroid dslr snapshot bokeh lens "
            "realistic film documentary"
        ),
        DRAWN: word_set(
            "painting drawing sketch illustration watercolor watercolour gouache oil acrylic ink "
            "pencil charcoal pastel cartoon comic anime manga engraving woodcut linocut lithograph "
            "etching fresco mosaic render 3d lowpoly pixel vector claymation origami papercut "
            "storybook poster stencil graffiti tapestry embroidery art artwork"
        ),
    }
)


@dataclass(frozen=True)
class Facet:
    """What may be left open in a prompt, and what to say then."""

    name: str
    hints: frozenset[str]
    phrases: tuple[str, ...]  # fit for every kind of picture
    photo: tuple[str, ...] = ()
    drawn: tuple[str, ...] = ()


FRAMING = Facet(
    "framing",
    word_set(
        "closeup close-up portrait wide panorama panoramic aerial overhead macro view shot angle "
        "framing framed bust full-body foreground symmetrical centered centred composition "
        "isometric silhouette profile perspective distant"
    ),
    (
        "centered composition",
        "seen at eye level",
        "framed with room around it",
        "seen slightly from below",
        "wide view with a clear horizon",
    ),
    ("medium shot", "taken at eye level with a 50 mm look"),
    ("balanced composition", "clear silhouette against the background"),
)
LIGHT = Facet(
    "light",
    word_set(
        "light lighting lit sunlight sunset sunrise dawn dusk night evening morning noon moonlight "
        "moonlit candlelight neon glow glowing shadow shadows dark bright backlit backlight rim "
        "golden hour overcast foggy fog mist misty storm stormy lightning sunny daylight lamp "
        "lantern lanterns firelight twilight midnight"
    ),
    (
        "soft light from one side",
        "warm late afternoon light",
        "diffuse light of an overcast day",
        "low sun with long shadows",
        "gentle backlight",
    ),
    ("window light", "natural light with soft shadows"),
    ("light and shade in clear shapes", "warm lights and cool shadows"),
)
BACKGROUND = Facet(
    "background",
    word_set(
        "background backdrop scene landscape forest beach city village street room indoors "
        "outdoors "
        "sky mountain mountains desert field meadow garden sea ocean lake river temple rooftop "
        "park jungle cave castle kitchen studio space snow snowy island harbor harbour valley "
        "hill hills cliff woods market shop library station bridge house interior"
    ),
    (
        "quiet background",
        "background softly out of focus",
        "plain backdrop in a muted colour",
        "distant haze behind",
        "simple uncluttered surroundings",
    ),
    ("shallow depth of field",),
    ("loosely drawn background", "flat backdrop in two tones"),
)
DETAIL = Facet(
    "detail",
    word_set(
        "detailed detail details texture textured intricate ornate rough smooth glossy matte "
        "weathered worn polished fur fabric wooden metallic leather silk velvet rusty wet grainy "
        "palette muted pastel vivid monochrome colorful colourful"
    ),
    (
        "fine surface texture",
        "visible material and grain",
        "a limited colour palette",
        "crisp edges",
        "small signs of wear",
    ),
    ("sharp focus", "fine film grain"),
    ("visible brush strokes kept even", "clean outlines"),
)
FACETS = (FRAMING, LIGHT, BACKGROUND, DETAIL)
NEUTRAL = ("clear composition", "soft light", "simple background")  # for prompts not understood

# What the bundled model was taught to call its places, times and poses. A model with other words
# gets "in a ..." and "at ..."; a phrase is used only where all its words are known to the model.
PLACE_PHRASES = MappingProxyType(
    {
        "beach": ("on a beach", "on a sandy beach by the sea"),
        "city": ("in a city", "in a city street"),
        "futuristic city": ("in a futuristic city", "in a futuristic city with neon towers"),
        "forest": ("in a forest", "in the woods"),
        "village": ("in a village", "in a quiet village"),
        "mountains": ("in the mountains", "in front of mountains"),
        "desert": ("in the desert", "in a hot desert with cactus"),
        "temple": ("in front of a temple", "before an old temple"),
        "rooftop": ("on a rooftop", "on the roof of a building"),
    }
)
PLACES_FOR = MappingProxyType(  # where some things are rather found than elsewhere
    {
        "boat": ("beach",),
        "sailboat": ("beach",),
        "car": ("city", "futuristic city", "village", "desert", "rooftop"),
        "house": ("village", "forest", "mountains", "beach", "desert"),
        "tree": ("village", "forest", "mountains", "beach", "temple"),
    }
)
TIME_PHRASES = MappingProxyType(
    {
        "day": ("on a sunny day", "in daylight"),
        "night": ("at night", "under the stars"),
        "sunset": ("at sunset", "in the evening"),
        "storm": ("during a storm", "with lightning in the background"),
        "snow": ("in the snow", "with falling snow"),
    }
)
POSE_PHRASES = MappingProxyType(
    {
        "standing": ("standing heroically", "standing proudly"),
        "running": ("running",),
        "posing": ("striking a powerful pose",),
        "landing": ("landing on one knee",),
    }
)
PEOPLE = word_set("hero superhero girl")  # who may have a pose
PLACE_HINTS = word_set(
    "beach sandy sea city street building buildings forest woods village mountain mountains desert "
    "dune cactus temple roof rooftop towers sky"
)
TIME_HINTS = word_set(
    "day daylight sunny sunshine night moon moonlight stars sunset dusk evening sun storm stormy "
    "thunderstorm lightning clouds snow snowy snows winter dawn morning"
)
POSE_HINTS = word_set(
    "standing stands running runs sprinting posing pose strikes striking landing lands raised "
    "flying jumping sitting walking"
)

"""The words for everything that a scene can show. The first of each is the plain one."""

KINDS: dict[str, tuple[str, ...]] = {
    "hero": ("hero", "superhero"), "girl": ("girl", "young girl"),
    "child": ("child", "boy", "kid"), "astronaut": ("astronaut", "spaceman", "cosmonaut"),
    "king": ("king",), "queen": ("queen",), "wizard": ("wizard", "sorcerer", "magician"),
    "pirate": ("pirate", "buccaneer"), "robot": ("robot", "android"),
    "cat": ("cat", "kitten", "kitty"), "dog": ("dog", "puppy"),
    "rabbit": ("rabbit", "bunny", "hare"), "bear": ("bear", "teddy bear", "teddy"),
    "lion": ("lion",), "frog": ("frog", "toad"), "mouse": ("mouse",), "horse": ("horse", "pony"),
    "elephant": ("elephant",), "turtle": ("turtle", "tortoise"), "owl": ("owl",),
    "penguin": ("penguin",), "duck": ("duck", "duckling"), "bird": ("bird", "flying bird"),
    "butterfly": ("butterfly",), "fish": ("fish",), "whale": ("whale",), "dragon": ("dragon",),
    "ghost": ("ghost", "spook"), "snowman": ("snowman",), "car": ("car", "automobile"),
    "flying car": ("flying car", "hover car"), "bus": ("bus", "coach"),
    "train": ("train", "steam train", "locomotive"), "bicycle": ("bicycle", "bike"),
    "plane": ("plane", "airplane", "aeroplane"), "rocket": ("rocket", "rocket ship", "spaceship"),
    "balloon": ("balloon", "hot air balloon"), "boat": ("boat", "sailing boat", "sailboat"),
    "ship": ("ship", "steamship", "steamer"), "submarine": ("submarine",),
    "house": ("house", "cottage"), "castle": ("castle", "fortress"),
    "lighthouse": ("lighthouse",), "windmill": ("windmill", "mill"), "tree": ("tree", "round tree"),
    "flower": ("flower", "blossom"), "mushroom": ("mushroom", "toadstool"),
}  # fmt: skip
IRREGULAR = {
    "child": "children", "mouse": "mice", "fish": "fish", "snowman": "snowmen", "hero": "heroes",
    "superhero": "superheroes", "kitty": "kitties", "puppy": "puppies", "bunny": "bunnies",
    "teddy": "teddies", "pony": "ponies", "butterfly": "butterflies", "bus": "buses",
    "coach": "coaches", "fortress": "fortresses", "spaceman": "spacemen",
}  # fmt: skip
COLOURS: dict[str, tuple[str, ...]] = {
    "red": ("red", "red", "scarlet"), "orange": ("orange",),
    "yellow": ("yellow", "yellow", "golden"),
    "green": ("green", "green", "emerald"), "blue": ("blue",), "purple": ("purple", "violet"),
    "pink": ("pink",), "brown": ("brown",), "white": ("white",), "black": ("black",),
    "grey": ("grey", "gray"), "turquoise": ("turquoise", "teal", "cyan"),
}  # fmt: skip
SIZES: dict[str, tuple[str, ...]] = {
    "small": ("small", "little", "tiny"), "big": ("big", "large", "huge", "giant"),
}  # fmt: skip
MOODS: dict[str, tuple[str, ...]] = {
    "happy": ("happy", "smiling", "cheerful", "laughing", "joyful"),
    "sad": ("sad", "crying", "unhappy", "weeping"),
    "angry": ("angry", "furious", "grumpy", "cross"),
    "surprised": ("surprised", "astonished", "shocked", "amazed"),
}
ACCESSORIES: dict[str, tuple[str, ...]] = {
    "hat": ("with a hat", "wearing a hat", "in a top hat", "with a hat on"),
    "scarf": ("with a scarf", "wearing a scarf", "in a red scarf", "with a scarf around the neck"),
    "umbrella": ("with an umbrella", "holding an umbrella", "under an umbrella",
                 "carrying an umbrella"),
    "crown": ("with a crown", "wearing a crown", "in a golden crown", "with a crown on the head"),
    "glasses": ("with glasses", "wearing glasses", "in round glasses", "wearing spectacles"),
}  # fmt: skip
POSES: dict[str, tuple[str, ...]] = {
    "standing": ("standing", "standing still", "standing proudly", "who stands there"),
    "running": ("running", "running fast", "sprinting", "on the run", "who runs"),
    "posing": ("striking a pose", "posing", "with one arm raised", "waving",
               "striking a heroic pose", "who strikes a pose"),
    "landing": ("landing", "landing on one knee", "in a landing pose", "kneeling", "who lands"),
}  # fmt: skip
NUMBERS = {2: ("two", "2", "a pair of"), 3: ("three", "3"), 4: ("four", "4")}
PLACES: dict[str, tuple[str, ...]] = {  # with a preposition
    "beach": ("on a beach", "on the beach", "at the beach", "on a sandy beach", "on the sand",
              "at the seaside", "along a beach"),
    "city": ("in a city", "in the city", "in a big city", "downtown", "among skyscrapers",
             "through a city"),
    "futuristic city": ("in a futuristic city", "in the futuristic city", "in a city of the future",
                        "in a sci-fi city", "among neon towers", "through a futuristic city"),
    "forest": ("in a forest", "in the forest", "in the woods", "among pine trees", "in a wood",
               "through a forest", "through the woods"),
    "village": ("in a village", "in the village", "in a small village", "in a quiet village",
                "through a village"),
    "mountains": ("in the mountains", "near the mountains", "in front of mountains",
                  "with mountains in the background", "among snowy peaks",
                  "through the mountains"),
    "desert": ("in the desert", "in a desert", "among cactuses", "on a desert dune",
               "across the desert"),
    "temple": ("in front of a temple", "at a temple", "by the temple", "before an old temple"),
    "rooftop": ("on a rooftop", "on the rooftop", "on the roof of a building", "on the rooftops"),
    "sea": ("on the sea", "at sea", "on the ocean", "on the open sea", "over the sea",
            "among the waves"),
    "under water": ("under water", "underwater", "under the sea", "at the bottom of the sea",
                    "in the depths of the ocean"),
    "space": ("in space", "in outer space", "among the planets", "floating in space"),
    "moon": ("on the moon", "on the surface of the moon", "on the lunar surface"),
    "garden": ("in a garden", "in the garden", "in a flower garden", "among flower beds",
               "through a garden"),
    "street": ("in a street", "on the street", "in the street", "on a road between houses",
               "along a street"),
    "farm": ("on a farm", "on the farm", "at the farm", "in front of a red barn", "by the barn"),
    "cave": ("in a cave", "in the cave", "inside a cave", "in a dark cave"),
}  # fmt: skip
BARE_PLACES: dict[str, tuple[str, ...]] = {
    "beach": ("a beach", "a sandy beach"), "city": ("a city", "a big city"),
    "futuristic city": ("a futuristic city", "a city of the future"),
    "forest": ("a forest", "the woods"), "village": ("a village", "a small village"),
    "mountains": ("mountains", "the mountains"), "desert": ("a desert", "the desert"),
    "temple": ("a temple", "an old temple"), "rooftop": ("a rooftop", "the roof of a building"),
    "sea": ("the sea", "the open sea", "the ocean"), "under water": ("the underwater world",
                                                                    "the bottom of the sea"),
    "space": ("space", "outer space"), "moon": ("the moon", "the lunar surface"),
    "garden": ("a garden", "a flower garden"), "street": ("a street", "a road between houses"),
    "farm": ("a farm", "a farm with a red barn"), "cave": ("a cave", "the inside of a cave"),
}  # fmt: skip
TIMES: dict[str, tuple[str, ...]] = {
    "day": ("by day", "during the day", "on a sunny day", "in the sunshine", "in daylight",
            "at noon", "at midday", "in the afternoon", "under a blue sky"),
    "night": ("at night", "by night", "in the night", "under the stars", "under the moon",
              "by moonlight", "at midnight", "under a starry sky"),
    "sunrise": ("at sunrise", "at dawn", "in the morning", "early in the morning", "at daybreak",
                "with the sun rising"),
    "sunset": ("at sunset", "at dusk", "in the evening", "with the sun setting", "at nightfall"),
    "storm": ("during a storm", "in a storm", "in a thunderstorm", "with lightning",
              "with lightning in the background", "on a stormy day", "under dark clouds"),
    "rain": ("in the rain", "on a rainy day", "while it rains", "in rainy weather",
             "with rain falling"),
    "snow": ("in the snow", "in winter", "while it snows", "on a snowy day", "with falling snow"),
    "fog": ("in the fog", "in fog", "on a foggy day", "in the mist", "on a misty day"),
}  # fmt: skip
BARE_TIMES: dict[str, tuple[str, ...]] = {  # for lists with commas
    "day": ("day", "daytime", "sunny", "noon"), "night": ("night", "moonlight", "starry night"),
    "sunrise": ("sunrise", "dawn", "morning"), "sunset": ("sunset", "dusk", "evening"),
    "storm": ("storm", "thunderstorm", "lightning", "stormy"), "rain": ("rain", "rainy", "raining"),
    "snow": ("snow", "snowy", "winter", "snowing"), "fog": ("fog", "foggy", "mist", "misty"),
}  # fmt: skip
OPENINGS = (
    "a picture of", "a scene of", "an illustration of", "a drawing of", "a photo of",
    "a picture book page with", "a cute picture of", "an image of", "a dramatic scene of",
)  # fmt: skip
BESIDE = ("and", "next to", "beside", "to the left of", "with", "by the side of")
ON = ("on", "on top of", "riding on", "sitting on", "on the back of")
BEHIND = ("behind", "hiding behind", "half hidden behind")
UNDER = ("under", "below", "beneath", "underneath")
OVER = ("flying over", "over", "above", "flying above", "hovering over")
STYLES = ("picture book", "flat colours", "cute", "cartoon", "storybook style")
TRIGGER = "Minnal Murali"  # names the hero that only a LoRA knows


def plural(noun: str) -> str:
    """Of the last word: "steam trains", "mice"."""
    before, _, last = noun.rpartition(" ")
    many = IRREGULAR.get(last, last + "s")
    return f"{before} {many}".strip()


def with_article(phrase: str) -> str:
    return f"an {phrase}" if phrase[0] in "aeiou" else f"a {phrase}"

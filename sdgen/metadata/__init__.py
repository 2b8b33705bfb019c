"""Recipes: what a picture was made of, inside its own file and out of it again.

recipe.py: the value. form.py: what a form takes of it. a1111.py: the text most tools know, written.
picture_file.py: files of ours and of others; texts.py, encoding.py, stealth.py: where texts lie in
them. readers/: what the texts of other programs say.
"""

from sdgen.metadata.a1111 import parameters_text
from sdgen.metadata.form import (
    FormFields,
    KnownAdapter,
    find_adapter,
    form_fields,
    missing_adapter,
)
from sdgen.metadata.picture_file import encode_png, picture_size, read_picture, read_recipe
from sdgen.metadata.readers import recipe_from_parameters
from sdgen.metadata.recipe import (
    Enhancement,
    Recipe,
    RecipeAdapter,
    pixels_hash,
    public_model_name,
    recipe_for,
    recipe_from_json,
)

__all__ = [
    "Enhancement",
    "FormFields",
    "KnownAdapter",
    "Recipe",
    "RecipeAdapter",
    "encode_png",
    "find_adapter",
    "form_fields",
    "missing_adapter",
    "parameters_text",
    "picture_size",
    "pixels_hash",
    "public_model_name",
    "read_picture",
    "read_recipe",
    "recipe_for",
    "recipe_from_json",
    "recipe_from_parameters",
]

"""Recipes: what a picture was made of, inside its own file and out of it again.

recipe.py: the value, and what a form takes of it. a1111.py: the text most tools know.
picture_file.py: files of ours and of others.
"""

from sdgen.metadata.a1111 import parameters_text, recipe_from_parameters
from sdgen.metadata.picture_file import encode_png, read_recipe
from sdgen.metadata.recipe import (
    Enhancement,
    FormFields,
    Recipe,
    RecipeAdapter,
    form_fields,
    pixels_hash,
    public_model_name,
    recipe_for,
    recipe_from_json,
)

__all__ = [
    "Enhancement",
    "FormFields",
    "Recipe",
    "RecipeAdapter",
    "encode_png",
    "form_fields",
    "parameters_text",
    "pixels_hash",
    "public_model_name",
    "read_recipe",
    "recipe_for",
    "recipe_from_json",
    "recipe_from_parameters",
]

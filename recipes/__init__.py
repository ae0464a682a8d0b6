"""Recipes: one experiment a file, read with `keras_r3d.recipe.load`."""

"""Recipes: how one side's values are rearranged so that both sides can be compared."""

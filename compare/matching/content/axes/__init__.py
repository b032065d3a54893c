"""Axes that stand in another order on one side, where sizes do not tell it and values do."""

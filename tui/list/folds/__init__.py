"""The levels that the list folds into: layers, their modules, runs of records without a partner."""

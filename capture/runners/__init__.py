"""Programs that hold one framework's model and run single layers of it again."""

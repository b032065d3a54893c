"""What other tools write: debuggers, engines, exporters, each in a layout of its own."""

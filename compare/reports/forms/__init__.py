"""The forms of a report, a module each; `registry` lists them."""

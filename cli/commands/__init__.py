"""One module a command; their common parts are beside this folder."""

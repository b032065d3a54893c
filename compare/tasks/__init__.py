"""Work that any executor can do: on other threads, in other processes, on other machines."""

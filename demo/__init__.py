"""`make demo`: the whole walk with real processes; it knows the command line, the plugin and HTTP, nothing within."""

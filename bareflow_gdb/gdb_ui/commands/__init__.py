"""One `bf` command per file; `plugin.load` imports them all."""

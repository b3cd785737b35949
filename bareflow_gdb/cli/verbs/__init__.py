"""One verb of `bareflow` per file: `HELP`, `configure(parser)`, `main(options) -> exit code`."""

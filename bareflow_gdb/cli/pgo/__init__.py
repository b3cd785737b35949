"""The actions of `bareflow pgo`: one file each, with HELP, configure and main."""

"""The suite inside gdb: commands, guards, sessions. Imported by gdb's own Python only."""

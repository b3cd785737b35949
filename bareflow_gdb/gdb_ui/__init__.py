"""The suite inside gdb: commands, sessions. Imported by gdb's own Python only."""

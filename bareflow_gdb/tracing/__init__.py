"""The guest over time: event rings drained from QEMU's RAM, recorded to a directory, read back as columns."""

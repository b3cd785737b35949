"""Language models for the guest: files that are packed for it, their tokens, and the same network on the host."""

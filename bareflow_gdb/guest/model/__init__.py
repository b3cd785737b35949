"""A language model in the guest: its weights, what it is at, its tensors, what it is asked."""

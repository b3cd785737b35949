"""What may be wrong with a guest? One file a check."""

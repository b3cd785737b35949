"""What does the guest's memory mean? Bytes in, frozen records out, wherever the bytes come from."""

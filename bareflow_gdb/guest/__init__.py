"""What does the guest's memory mean? Bytes in, frozen records out; where the bytes come from is not known here."""

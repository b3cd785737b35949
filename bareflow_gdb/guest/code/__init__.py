"""The adaptive JIT: functions, versions, swaps, events, mailbox, profile, bitcode."""

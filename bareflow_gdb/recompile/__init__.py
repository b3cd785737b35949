"""Recompile a guest function on the host: LLVM in a worker process, a linker, the guest's mailbox."""

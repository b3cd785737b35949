"""The machine under the kernel: CPU, interrupts, stack, screen, serial port, disk."""

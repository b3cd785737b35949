/* FILLER bytes of .bss, before everything else there. */
    .section .bss.first, "aw", @nobits
    .balign 4096
    .globl filler
filler:
    .zero FILLER
    .size filler, FILLER
    .section .note.GNU-stack, "", @progbits

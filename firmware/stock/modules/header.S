/* The header of a module, version 1 (module_header_t): as in .mod files, the entry is relative and the size 0. */
    .section .header, "a", @progbits
    .ascii "BDOM"
name:
    .ascii MODULE_NAME
    .zero 32 - (. - name)
    .long 0x30, 0, 1
    .section .note.GNU-stack, "", @progbits

/*
 * Modules as a field generation carries them: the header records stand in .rodata, the code elsewhere. Embedded ones
 * are stubs of 16 bytes that claim 24,852; the two of the cache replace them with code of a claimed size 0, and two
 * more have no header at all. Read by field/module.c.
 */
.macro header name
    .ascii "BDOM"
1:  .ascii "\name"
    .zero 32 - (. - 1b)
    .long code_\name, 24852, 1
.endm
.macro stub name, result
    .balign 16
    .globl code_\name
    .type code_\name, @function
code_\name:
    mov $\result, %eax
    ret
    .size code_\name, . - code_\name
    .balign 16, 0xCC
.endm

    .text
    stub fibonacci, 6765
    stub sum, 5050
    stub compute, 4488500
    stub primes, 0

    .type cached_primes, @function
    .globl cached_primes
    .balign 16
cached_primes:
    push %ebp
    mov %esp, %ebp
    mov $168, %eax
    pop %ebp
    ret
    .size cached_primes, . - cached_primes
    stub quicksort, 128
    stub strops, 100

    .section .rodata, "a", @progbits
    .balign 4
    .globl embedded_headers
embedded_headers:
    header fibonacci
    header sum
    header compute
    header primes
    .size embedded_headers, . - embedded_headers

    .section .note.GNU-stack, "", @progbits

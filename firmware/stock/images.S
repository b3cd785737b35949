/* What the stock kernel carries: modules at O0, the cache, the variants of the adaptive JIT, bitcode. */

.macro image label, file
    .section .modules, "aw", @progbits
    .balign 16
\label:
    .incbin "\file"
\label\()_end:
    .size \label, \label\()_end - \label
.endm

.macro row label
    .long \label, \label\()_end - \label
.endm

    image embedded_sum, "sum.O0.mod"
    image embedded_fibonacci, "fibonacci.O0.mod"
    image embedded_compute, "compute.O0.mod"
    image embedded_primes, "primes.O0.mod"
#ifndef STOCK_NO_CACHE
    image cache_module_primes, "primes.O2.mod"
#endif

.macro variants name
    image variant_\name\()_O1, "\name\().O1.mod"
    image variant_\name\()_O2, "\name\().O2.mod"
    image variant_\name\()_O3, "\name\().O3.mod"
.endm
    variants fibonacci
    variants sum
    variants compute

    .section .rodata, "a", @progbits
    .balign 4
    .globl embedded_modules, embedded_module_count
embedded_modules:
    row embedded_sum
    row embedded_fibonacci
    row embedded_compute
    row embedded_primes
    .size embedded_modules, . - embedded_modules
embedded_module_count:
    .long 4
    .size embedded_module_count, 4

#ifndef STOCK_NO_CACHE
    .globl cache_registry, cache_registry_count
cache_registry:
    row cache_module_primes
    .size cache_registry, . - cache_registry
cache_registry_count:
    .long 1
    .size cache_registry_count, 4
#endif

.macro variant_row name
    row variant_\name\()_O1
    row variant_\name\()_O2
    row variant_\name\()_O3
.endm
    .globl jit_variants, jit_variant_count
jit_variants:
    variant_row fibonacci
    variant_row sum
    variant_row compute
    .size jit_variants, . - jit_variants
jit_variant_count:
    .long 3
    .size jit_variant_count, 4

    .section .bitcode, "a", @progbits
    .balign 16
#define TEXT(x) #x
#define QUOTED(x) TEXT(x)
bitcode_primes:
    .incbin QUOTED(primes.bc.STOCK_BITCODE_BYTES)
    .size bitcode_primes, . - bitcode_primes

    .section .note.GNU-stack, "", @progbits

; The first bytes of a stock kernel. Stage 2 jumps to the signature itself: as instructions its four bytes are
; inc esp, push ebp, dec esp, inc esi, which do no harm before the stack is set.
%include "abi.inc"
bits 32

extern __bss_start
extern __bss_end
extern kernel_main

section .header progbits alloc exec nowrite align=16
    dd BF_FLUD_MAGIC
global _start
_start:
    cli
%ifdef FIELD_ENTRY
    jmp short .go               ; the word at 8 is code that looks like an address of RAM
    nop
    dd 0x89000900
.go:
%endif
    mov esp, BF_STACK_TOP
    xor ebp, ebp
    cld
%ifndef FIELD_KEEP_BSS
    mov edi, __bss_start
    mov ecx, __bss_end
    sub ecx, edi
    shr ecx, 2                  ; the linker script aligns both ends to 4
    xor eax, eax
    rep stosd
%endif
    call kernel_main
.halt:
    cli
    hlt
    jmp .halt

section .note.GNU-stack noalloc noexec nowrite progbits

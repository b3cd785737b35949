"""Boot sectors that set the CPU up as no BareFlow kernel does: paging in the higher half, 64-bit mode."""

from __future__ import annotations

HIGH = 0xC0000000

# One page directory at 0x1000: 0xC0000000 is physical 0, and the identity mapping goes once the code runs up there.
HIGHER_HALF = """
        cli
        mov ss, ax
        mov sp, 0x7c00
        lgdt [table]
        mov eax, cr0
        or al, 1
        mov cr0, eax
        jmp 8:flat
bits 32
flat:   mov ax, 16
        mov ds, ax
        mov es, ax
        mov ss, ax
        cld
        mov edi, 0x1000
        mov ecx, 1024
        xor eax, eax
        rep stosd
        mov dword [0x1000], 0x83
        mov dword [0x1000 + 0x300 * 4], 0x83
        mov eax, 0x10
        mov cr4, eax
        mov eax, 0x1000
        mov cr3, eax
        mov eax, cr0
        or eax, 0x80000000
        mov cr0, eax
        mov eax, 0xc0000000 + high
        jmp eax
high:   mov esp, 0xc0007000
        push dword 0
        push dword 0
        mov ebp, esp
        mov dword [0xc0001000], 0
        mov eax, cr3
        mov cr3, eax
again:  call work
        jmp again
work:   push ebp
        mov ebp, esp
spin:   inc dword [0xc0000500]
        cmp byte [0xc0000504], 0
        je spin
        pop ebp
        ret
align 8
gdt:    dq 0, 0x00cf9a000000ffff, 0x00cf92000000ffff
table:  dw $ - gdt - 1
        dd gdt
"""

# 2 MiB pages: the first two MiB, at 0 and at the top of the address space, where it loops.
LONG_MODE = """
        cli
        mov ss, ax
        mov sp, 0x7c00
        lgdt [table]
        cld
        mov edi, 0x1000
        mov ecx, 0x1000
        xor eax, eax
        rep stosd
        mov dword [0x1000], 0x2003
        mov dword [0x1ff8], 0x2003
        mov dword [0x2000], 0x3003
        mov dword [0x2ff0], 0x3003
        mov dword [0x3000], 0x83
        mov eax, 0xa0
        mov cr4, eax
        mov eax, 0x1000
        mov cr3, eax
        mov ecx, 0xc0000080
        rdmsr
        or eax, 0x100
        wrmsr
        mov eax, cr0
        or eax, 0x80000001
        mov cr0, eax
        jmp 8:wide
bits 64
wide:   mov rax, 0xffffffff80000000 + top
        jmp rax
top:    jmp top
align 8
gdt:    dq 0, 0x00209a0000000000, 0x0000920000000000
table:  dw $ - gdt - 1
        dd gdt
"""

; Stage 2 of stock kernels, sectors 1-8, at 0x7E00: A20, SECTORS sectors of kernel image, protected mode, 0x10000.
; The image says nothing of its size: SECTORS is fixed when the loader is built.
%include "abi_record.inc"
%ifndef LOAD
%define LOAD BF_IMAGE_BASE
%endif
bits 16
org BF_STAGE2_ADDRESS

    jmp start
a20_test: db 0                  ; a20.asm: no test of one method
start:
    call a20_enable
    call disk_probe
    mov eax, BF_IMAGE_LBA
    mov cx, SECTORS
    mov ebx, LOAD
    call disk_read

    push es
    push word LOAD >> 4
    pop es
    mov eax, [es:0]
    pop es
    test eax, eax
    jz .no_kernel
    cmp eax, BF_FLUD_MAGIC
    mov al, BF_FATAL_SIGNATURE
    jne fatal

    cli
    lgdt [gdt_pointer]
    mov eax, cr0                ; Intel SDM vol. 3A, 9.9.1: switching to protected mode
    or al, 1
    mov cr0, eax
    jmp 0x08:protected
.no_kernel:
    mov al, BF_FATAL_NO_KERNEL
    jmp fatal

%include "fatal.asm"
%include "disk.asm"
%include "a20.asm"

; Flat segments: base 0, limit 4 GiB (Intel SDM vol. 3A, 3.4.5). They stay in use under the kernel.
    align 8, db 0
gdt:
    dq 0
    dq 0x00CF9A000000FFFF       ; 0x08: code, execute and read
    dq 0x00CF92000000FFFF       ; 0x10: data, read and write
gdt_pointer:
    dw gdt_pointer - gdt - 1
    dd gdt

bits 32
protected:
    mov ax, 0x10
    mov ds, ax
    mov es, ax
    mov fs, ax
    mov gs, ax
    mov ss, ax
    mov esp, BF_STACK_TOP
    jmp 0x08:LOAD      ; the signature is the kernel's first instructions

%if LOAD + SECTORS * 512 > BF_IMAGE_LIMIT
%error "SECTORS sectors would not fit below the stack"
%endif
%if $ - $$ > BF_STAGE2_SECTORS * 512
%error "stage 2 is larger than its sectors"
%endif
    times BF_STAGE2_SECTORS * 512 - ($ - $$) db 0

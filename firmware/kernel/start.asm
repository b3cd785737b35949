; The kernel's first bytes: the image header (struct bf_image_header), then the way to kernel_main.
%include "abi.inc"
bits 32

extern bareflow_root
extern __bss_start
extern __bss_end
extern __init_array_start
extern __init_array_end
extern kernel_main

section .header progbits alloc exec nowrite align=16
global bareflow_image_header
bareflow_image_header:
    dd BF_FLUD_MAGIC
    jmp short _start            ; BF_IMAGE_ENTRY: stage 2 enters here
    times bf_image_header.root - ($ - bareflow_image_header) nop
    dd bareflow_root
    times sizeof.bf_image_header - ($ - bareflow_image_header) db 0 ; image_bytes and crc: by finish_image

global _start
_start:
    mov esp, BF_STACK_TOP
    xor ebp, ebp                ; the end of every chain of frames
    cld
    mov dword [BF_BOOT_RECORD_ADDRESS + bf_boot_record.stage], BF_STAGE_KERNEL
    rdtsc
    mov [BF_BOOT_RECORD_ADDRESS + bf_boot_record.stage_tsc + BF_STAGE_KERNEL * 8], eax
    mov [BF_BOOT_RECORD_ADDRESS + bf_boot_record.stage_tsc + BF_STAGE_KERNEL * 8 + 4], edx

    mov edi, __bss_start
    mov ecx, __bss_end
    sub ecx, edi
    shr ecx, 2                  ; the linker script aligns both ends to 4
    xor eax, eax
    rep stosd

    mov esi, __init_array_start ; global constructors (System V ABI, .init_array)
.constructor:
    cmp esi, __init_array_end
    jae .ready
    call [esi]
    add esi, 4
    jmp .constructor
.ready:
    call kernel_main
.halt:
    cli
    hlt
    jmp .halt

section .note.GNU-stack noalloc noexec nowrite progbits

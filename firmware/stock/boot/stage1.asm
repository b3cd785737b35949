; Stage 1 of stock kernels, sector 0, at 0x7C00: loads stage 2 (sectors 1-8) and jumps to it.
%include "abi_record.inc"
bits 16
org BF_STAGE1_ADDRESS

    jmp 0:start                 ; CS = 0, so that a debugger's EIP is the linear address
start:
    cli
    xor ax, ax
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov sp, BF_STAGE1_ADDRESS
    sti
    cld
    mov [RECORD(drive)], dl     ; the BIOS passes the boot drive in DL
    call disk_probe
    mov eax, 1
    mov cx, BF_STAGE2_SECTORS
    mov ebx, BF_STAGE2_ADDRESS
    call disk_read
    jmp 0:BF_STAGE2_ADDRESS

%include "fatal.asm"
%include "disk.asm"

%if $ - $$ > 510
%error "stage 1 is larger than its sector"
%endif
    times 510 - ($ - $$) db 0
    dw 0xAA55

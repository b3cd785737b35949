; Stage 1, sector 0, at 0x7C00: starts the boot record, loads stage 2 (sectors 1-8) and jumps to it. Stock loaders,
; which keep no boot record, are built from it too.
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
%ifdef BOOT_RECORD
    mov di, BF_BOOT_RECORD_ADDRESS
    mov cx, sizeof.bf_boot_record / 2
    rep stosw
    mov dword [RECORD(magic)], BF_BOOT_MAGIC
    mov byte [RECORD(size)], sizeof.bf_boot_record
    mov al, BF_STAGE_STAGE1
    call record_stage
%endif
    mov [RECORD(drive)], dl     ; the BIOS passes the boot drive in DL
    call disk_probe
    mov eax, 1
    mov cx, BF_STAGE2_SECTORS
    mov ebx, BF_STAGE2_ADDRESS
    call disk_read
    jmp 0:BF_STAGE2_ADDRESS

%if sizeof.bf_boot_record > 255
%error "the boot record's size no longer fits the byte that stage 1 writes"
%endif
%ifdef BOOT_RECORD
%include "record.asm"
%endif
%include "fatal.asm"
%include "disk.asm"

%if $ - $$ > 510
%error "stage 1 is larger than its sector"
%endif
    times 510 - ($ - $$) db 0
    dw 0xAA55

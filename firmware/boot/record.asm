; The boot record at 0x600 (struct bf_boot_record): how far the boot came, readable from outside at any time.
; Address 0x600 is above the BIOS data area and below both stages; nothing in the BIOS uses it.

; AL = enum bf_boot_stage. Keeps all registers. RDTSC works in real mode (Intel SDM vol. 2B, RDTSC).
record_stage:
    pushad
    movzx ebx, al
    mov [RECORD(stage)], ebx
    rdtsc
    mov [RECORD(stage_tsc) + ebx * 8], eax
    mov [RECORD(stage_tsc) + 4 + ebx * 8], edx
    popad
    ret

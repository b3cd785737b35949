; Stage 2, sectors 1-8, at 0x7E00: A20, kernel image, verification, protected mode.
%include "abi_record.inc"
bits 16
org BF_STAGE2_ADDRESS

    jmp start
    align 4, db 0
; At offset 4. 0: turn A20 on however it works. Otherwise a test: turn it off first, then use only this method
; (enum bf_a20_method); BF_A20_ALREADY_ON tries them all, a number that is no method tries none.
a20_test: db 0
    align 4, db 0
image_bytes: dd 0

start:
    mov al, BF_STAGE_STAGE2
    call record_stage
    mov dword [RECORD(load_address)], BF_IMAGE_BASE
    xor eax, eax
    mov [RECORD(sectors_asked)], eax ; from here on they count the image, not stage 2
    mov [RECORD(sectors_read)], eax

    call a20_enable
    mov al, BF_STAGE_A20
    call record_stage
    call memory_size

    call disk_probe
    mov eax, BF_IMAGE_LBA
    mov cx, 1
    mov ebx, BF_IMAGE_BASE
    call disk_read
    call check_header
    mov al, BF_STAGE_HEADER
    call record_stage

    mov ecx, [RECORD(sectors_needed)]
    cmp ecx, BF_IMAGE_MAX_SECTORS
    mov al, BF_FATAL_VERIFY
    ja fatal
    dec cx
    mov eax, BF_IMAGE_LBA + 1
    mov ebx, BF_IMAGE_BASE + 512
    call disk_read
    mov al, BF_STAGE_LOADED
    call record_stage

    call verify
    mov al, BF_STAGE_VERIFIED
    call record_stage

    cli
    lgdt [gdt_pointer]
    mov eax, cr0                ; Intel SDM vol. 3A, 9.9.1: switching to protected mode
    or al, 1
    mov cr0, eax
    jmp 0x08:protected

; INT 15h AX=E801h: AX/CX = KiB from 1 to 16 MiB, BX/DX = 64 KiB blocks above 16 MiB. Else AH=88h: AX = KiB.
memory_size:
    xor cx, cx
    xor dx, dx
    mov ax, 0xE801
    int 0x15
    jc .old
    test ax, ax
    jnz .given
    mov ax, cx
    mov bx, dx
.given:
    movzx eax, ax
    movzx ebx, bx
    shl ebx, 6
    add eax, ebx
    jnz .done
.old:
    mov ah, 0x88
    int 0x15
    movzx eax, ax
.done:
    mov [RECORD(memory_kib)], eax
    ret

; Reads struct bf_image_header, sets signature, crc_expected, sectors_needed; a bad one ends in `fatal`.
check_header:
    push es
    push word BF_IMAGE_BASE >> 4
    pop es
    mov eax, [es:bf_image_header.magic]
    mov [RECORD(signature)], eax
    mov ebx, [es:bf_image_header.image_bytes]
    mov ecx, [es:bf_image_header.crc]
    pop es
    mov [image_bytes], ebx
    test eax, eax
    jz .no_kernel
    cmp eax, BF_FLUD_MAGIC
    mov al, BF_FATAL_SIGNATURE
    jne fatal
    mov [RECORD(crc_expected)], ecx
    test ebx, ebx
    jz .no_kernel
    dec ebx
    shr ebx, 9
    inc ebx                     ; ceil(bytes / 512) without overflow
    mov [RECORD(sectors_needed)], ebx
    ret
.no_kernel:
    mov al, BF_FATAL_NO_KERNEL
    jmp fatal

; Compares the CRC of the image, its crc field taken as 0, with that field.
verify:
    push es
    push word BF_IMAGE_BASE >> 4
    pop es
    mov dword [es:bf_image_header.crc], 0
    call image_crc
    mov [RECORD(crc_computed)], eax
    mov ebx, [RECORD(crc_expected)]
    mov [es:bf_image_header.crc], ebx
    pop es
    cmp eax, ebx
    mov al, BF_FATAL_VERIFY
    jne fatal
    ret

%include "record.asm"
%include "fatal.asm"
%include "disk.asm"
%include "a20.asm"
%include "crc.asm"

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
    mov dword [RECORD(stage)], BF_STAGE_PROTECTED
    rdtsc
    mov [RECORD(stage_tsc) + BF_STAGE_PROTECTED * 8], eax
    mov [RECORD(stage_tsc) + BF_STAGE_PROTECTED * 8 + 4], edx
    jmp 0x08:BF_IMAGE_ENTRY

%if BF_IMAGE_BASE + BF_IMAGE_MAX_SECTORS * 512 > BF_IMAGE_LIMIT
%error "an image of the largest size would not fit below the stack"
%endif
%if $ - $$ > BF_STAGE2_SECTORS * 512
%error "stage 2 is larger than its sectors"
%endif
    times BF_STAGE2_SECTORS * 512 - ($ - $$) db 0

; CRC-32 as zlib computes it (reflected polynomial 0xEDB88320), by a table of 256 words.

%define CRC_TABLE 0x9000        ; free memory between stage 2 and the kernel image

; Out: EAX = CRC of the [image_bytes] bytes at BF_IMAGE_BASE. Destroys all general registers.
image_crc:
    xor ebx, ebx
.entry:
    mov eax, ebx
    mov cx, 8
.bit:
    shr eax, 1
    jnc .even
    xor eax, 0xEDB88320
.even:
    loop .bit
    mov [CRC_TABLE + ebx * 4], eax
    inc bl
    jnz .entry

    or eax, -1
    mov ebp, [image_bytes]
    mov dx, BF_IMAGE_BASE >> 4
    push es
.segment:
    mov es, dx                  ; the image in pieces of 32 KiB: one segment register reaches 64
    xor si, si
    mov ecx, 0x8000
    cmp ebp, ecx
    jae .byte
    mov ecx, ebp
    jcxz .done
.byte:
    mov bl, al                  ; EBX is 0 above its low byte
    xor bl, [es:si]
    shr eax, 8
    xor eax, [CRC_TABLE + ebx * 4]
    inc si
    dec cx
    jnz .byte
    add dx, 0x800
    sub ebp, 0x8000
    ja .segment
.done:
    pop es
    not eax
    ret

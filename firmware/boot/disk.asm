; Reading sectors through INT 13h: by LBA where the BIOS has the EDD extensions, else by cylinder, head, sector.
; Sources: Phoenix/Compaq/Intel BIOS Boot Specification; Phoenix Enhanced Disk Drive Specification 3.0.

%define MAX_SECTORS_AT_ONCE 127 ; limit of EDD 1.x and of some controllers
%define TRIES 4

; Sets the boot record's disk_method, and the geometry when it is CHS.
disk_probe:
    mov byte [RECORD(disk_method)], BF_DISK_LBA
    mov dl, [RECORD(drive)]
    mov bx, 0x55AA
    mov ah, 0x41                ; EDD: check extensions present
    int 0x13
    jc .chs
    cmp bx, 0xAA55
    jne .chs
    test cl, 1                  ; bit 0: fixed disk access subset (AH=42h)
    jnz .done
.chs:
    mov byte [RECORD(disk_method)], BF_DISK_CHS
    push es
    xor di, di
    mov dl, [RECORD(drive)]
    mov ah, 0x08                ; drive parameters: CL bits 0..5 = sectors per track, DH = last head
    int 0x13
    pop es                      ; AH=08h returns ES:DI for floppies
    jc .done                    ; keep the defaults: a 1.44 MB floppy
    and cl, 0x3F
    jz .done
    mov [sectors_per_track], cl
    inc dh
    mov [heads], dh
.done:
    ret

; EAX = first sector, CX = sectors, EBX = linear address below 1 MiB, a multiple of 512. Ends in `fatal` when the
; disk does not deliver. Destroys all general registers.
disk_read:
    mov [packet.sector], eax
    mov [sectors_left], cx
    mov [address], ebx
.chunk:
    mov cx, [sectors_left]
    test cx, cx
    jz .done
    mov ax, [address]           ; a transfer must not cross a 64 KiB boundary (ISA DMA)
    neg ax
    shr ax, 9                   ; sectors to the boundary; 0 = all 128
    jz .whole
    cmp cx, ax
    jbe .fits
    mov cx, ax
.whole:
    cmp cx, MAX_SECTORS_AT_ONCE
    jbe .fits
    mov cx, MAX_SECTORS_AT_ONCE
.fits:
    mov eax, [address]
    shr eax, 4
    mov [packet.segment], ax
    cmp byte [RECORD(disk_method)], BF_DISK_LBA
    je .sized
    mov eax, [packet.sector]    ; nor the end of a track
    xor edx, edx
    movzx ebp, byte [sectors_per_track]
    div ebp
    mov [track], ax
    mov [sector_in_track], dl
    sub bp, dx
    cmp cx, bp
    jbe .sized
    mov cx, bp
.sized:
    mov [chunk], cx
    add [RECORD(sectors_asked)], cx ; fewer than 64 Ki sectors: the low half is enough
    mov byte [tries_left], TRIES
.again:
    call transfer
    jnc .read
    mov [RECORD(bios_status)], ah
    mov dl, [RECORD(drive)]
    xor ah, ah                  ; reset the controller before the next try
    int 0x13
    dec byte [tries_left]
    jnz .again
    mov al, BF_FATAL_DISK
    jmp fatal
.read:
    movzx eax, word [chunk]
    add [RECORD(sectors_read)], ax
    add [packet.sector], eax
    sub [sectors_left], ax
    shl eax, 9
    add [address], eax
    jmp .chunk
.done:
    ret

; One INT 13h for the chunk. Out: CF and AH as the BIOS says.
transfer:
    mov ax, [chunk]             ; afresh for each try: the BIOS may overwrite the packet's count
    mov [packet.count], ax
    mov dl, [RECORD(drive)]
    cmp byte [RECORD(disk_method)], BF_DISK_LBA
    jne .chs
    mov si, packet
    mov ah, 0x42
    int 0x13
    ret
.chs:
    mov ax, [track]
    div byte [heads]            ; AL = cylinder, AH = head: enough for 255 cylinders, more than the loader reads
    mov ch, al
    mov dh, ah
    mov cl, [sector_in_track]
    inc cx
    mov al, [chunk]
    mov ah, 0x02
    push es
    mov es, [packet.segment]
    xor bx, bx
    int 0x13
    pop es
    ret

; EDD disk address packet. The segment carries the whole address, which is a multiple of 16.
packet:
    db 16, 0
.count: dw 0
    dw 0
.segment: dw 0
.sector: dd 0, 0
sectors_per_track: db 18
heads: db 2
sectors_left: dw 0
chunk: dw 0
track: dw 0
sector_in_track: db 0
tries_left: db 0
address: dd 0

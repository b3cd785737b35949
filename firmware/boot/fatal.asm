; The end of a boot that cannot go on: the code goes to the boot record, the screen and COM1. `stage` stays at the
; last stage reached, so that the record tells where and why.

; AL = enum bf_fatal. Does not return.
fatal:
    movzx eax, al
    mov [RECORD(fatal)], eax
    mov si, .text
    aam 16                      ; AH = high digit, AL = low digit
    mov cx, 2
.digit:
    xchg al, ah
    cmp al, 10
    sbb al, 0x69                ; with DAS: the shortest way from 0..15 to '0'..'F'
    das
    mov [si + .digits - .text], al
    inc si
    loop .digit
    mov si, .text
.next:
    lodsb
    test al, al
    jz .halt
    mov dx, 0x3F8               ; COM1; the divisor is what the BIOS left
    out dx, al
    mov ah, 0x0E                ; INT 10h AH=0Eh: teletype output
    mov bx, 0x0007
    int 0x10
    jmp .next
.halt:
    cli
    hlt
    jmp .halt
.text:
    db "FATAL ERROR: 0x"
.digits:
    db "00", 13, 10, 0

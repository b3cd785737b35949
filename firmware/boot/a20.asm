; Turning address line A20 on: three ways, each checked before the next is tried.

; Out: ZF = 1 when A20 is off, that is when 0x100500 is the same memory as 0x500.
a20_check:
    push es
    push word 0xFFFF
    pop es
    mov ax, [0x500]
    not ax
    mov [es:0x510], ax          ; FFFF:0510 = 0x100500
    wbinvd                      ; no cache may answer for the alias
    cmp [0x500], ax
    pop es
    ret

; Sets the boot record's a20_method, or ends in `fatal`.
a20_enable:
    cmp byte [a20_test], 0
    je .normal
    mov ax, 0x2400              ; INT 15h: A20 off
    int 0x15
    mov al, [a20_test]
    cmp al, BF_A20_ALREADY_ON
    je .normal
    cmp al, BF_A20_BIOS
    je .bios
    cmp al, BF_A20_KEYBOARD
    je .keyboard
    cmp al, BF_A20_FAST
    je .fast
    mov cl, BF_A20_NONE
    call .settle
    jnz .on
    jmp .failed

.normal:
    mov cl, BF_A20_ALREADY_ON
    call a20_check
    jnz .on
.bios:
    mov ax, 0x2401              ; INT 15h: A20 on
    int 0x15
    mov cl, BF_A20_BIOS
    call .settle
    jnz .on
    cmp byte [a20_test], BF_A20_ALREADY_ON
    ja .failed                  ; in a test of one method the others do not help out
.keyboard:
    call a20_keyboard
    mov cl, BF_A20_KEYBOARD
    call .settle
    jnz .on
    cmp byte [a20_test], BF_A20_ALREADY_ON
    ja .failed
.fast:
    in al, 0x92                 ; system control port A: bit 1 = A20, bit 0 = reset
    or al, 2
    and al, 0xFE
    out 0x92, al
    mov cl, BF_A20_FAST
    call .settle
    jnz .on
.failed:
    mov al, BF_FATAL_A20
    jmp fatal
.on:
    mov [RECORD(a20_method)], cl
    ret

; Some controllers need a while. Out: ZF as a20_check.
.settle:
    mov dx, 1000
.wait:
    call a20_check
    jnz .settled
    dec dx
    jnz .wait
.settled:
    ret

; The 8042's output port: bit 1 is the A20 gate (IBM PS/2 hardware interface reference, keyboard controller).
a20_keyboard:
    cli
    call .wait_input
    mov al, 0xAD                ; keyboard off
    out 0x64, al
    call .wait_input
    mov al, 0xD0                ; read the output port
    out 0x64, al
    mov cx, 0xFFFF
.wait_output:
    in al, 0x64
    test al, 1
    loopz .wait_output
    in al, 0x60
    mov bl, al
    call .wait_input
    mov al, 0xD1                ; write it back with bit 1 set
    out 0x64, al
    call .wait_input
    mov al, bl
    or al, 2
    out 0x60, al
    call .wait_input
    mov al, 0xAE                ; keyboard on
    out 0x64, al
    call .wait_input
    sti
    ret
.wait_input:
    mov cx, 0xFFFF
.busy:
    in al, 0x64
    test al, 2
    loopnz .busy
    ret

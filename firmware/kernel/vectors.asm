; One stub per interrupt vector. Each leaves the same stack (struct interrupt_frame): where the CPU pushes no error
; code, a 0 stands in for it (Intel SDM vol. 3A, 6.13 and table 6-1).
bits 32
extern interrupt_dispatch
extern exception_with_wild_stack

section .text
%assign vector 0
%rep 48
stub_ %+ vector:
    mov byte [current_vector], vector
%if vector != 8 && (vector < 10 || vector > 14) && vector != 17 && vector != 21 && vector != 29 && vector != 30
    push dword 0
%endif
    push dword vector
    jmp dispatch
%assign vector vector + 1
%endrep

dispatch:
    cmp esp, 0x000A0000         ; a stack that is no RAM keeps nothing of what is pushed
    jb .ram
    cmp esp, 0x00100000
    jb .wild
    cmp esp, [interrupt_ram_end]
    ja .wild
.ram:
    pusha
    cld
    mov eax, esp
    push dword [eax + 40]       ; a frame that returns to the interrupted code: backtraces go on there
.frame:                         ; debuggers know a frame by a symbol and these two instructions
    push ebp
    mov ebp, esp
    push eax
    call interrupt_dispatch
    add esp, 12
    popa
    add esp, 8                  ; vector and error code
    iret

; The stack pointer is lost, and with it EIP; the other registers are still there to be recorded.
.wild:
    mov [wild_esp], esp
    mov esp, emergency_stack_end
    push dword 0                ; EFLAGS
    push dword 0x08
    push dword 0                ; EIP: unknown
    push dword 0                ; error code: unknown
    push eax
    movzx eax, byte [current_vector]
    xchg eax, [esp]
    pusha
    mov eax, [wild_esp]
    mov [esp + 12], eax         ; ESP in the frame of PUSHA
    mov eax, esp
    xor ebp, ebp
    push eax
    call exception_with_wild_stack

section .bss align=16
    resb 4096
emergency_stack_end:
global interrupt_ram_end
interrupt_ram_end: resd 1
current_vector: resd 1
wild_esp: resd 1

section .rodata
global interrupt_stubs
interrupt_stubs:
%assign vector 0
%rep 48
    dd stub_ %+ vector
%assign vector vector + 1
%endrep

section .note.GNU-stack noalloc noexec nowrite progbits

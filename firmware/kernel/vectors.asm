; One stub per interrupt vector. Each leaves the same stack (struct interrupt_frame): where the CPU pushes no error
; code, a 0 stands in for it (Intel SDM vol. 3A, 6.13 and table 6-1).
bits 32
extern interrupt_dispatch

section .text
%assign vector 0
%rep 48
stub_ %+ vector:
%if vector != 8 && (vector < 10 || vector > 14) && vector != 17 && vector != 21 && vector != 29 && vector != 30
    push dword 0
%endif
    push dword vector
    jmp dispatch
%assign vector vector + 1
%endrep

dispatch:
    pusha
    cld
    mov eax, esp
    push dword [eax + 40]       ; a frame that returns to the interrupted code: backtraces go on there
    push ebp
    mov ebp, esp
    push eax
    call interrupt_dispatch
    add esp, 12
    popa
    add esp, 8                  ; vector and error code
    iret

section .rodata
global interrupt_stubs
interrupt_stubs:
%assign vector 0
%rep 48
    dd stub_ %+ vector
%assign vector vector + 1
%endrep

section .note.GNU-stack noalloc noexec nowrite progbits

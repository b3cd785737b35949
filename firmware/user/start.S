/* Where the kernel (Linux) begins a program: the argument count is at ESP, the arguments after it. */
    .globl _start
_start:
    xorl %ebp, %ebp
    movl %esp, %eax
    andl $-16, %esp
    subl $12, %esp
    pushl %eax
    call user_main
    .section .note.GNU-stack, "", @progbits

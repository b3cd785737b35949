/*
 * Runs two versions of a guest function on the host's own CPU, over a copy of guest memory, and reports what they did.
 * recompile/verify/native.py puts these bytes and the memory into an i386 program. From its first system call on the
 * kernel allows it read, write and exit only (seccomp(2), SECCOMP_MODE_STRICT): what runs here is the guest's code.
 *
 * clang-19 --target=i686-unknown-none-elf -c driver.S
 */
    .set PRISTINE, 0x80000000       /* guest memory as each call finds it, at this distance from its address */
    .set SAVED, 0xA0000000          /* as the old version left it */
    .set CONTROL, 0x70010000
    .set INPUTS, 0x70011000         /* pairs of arguments */
    .set OUT, 0x70020000            /* records: two results, a count, at most 16 of (address, old word, new word) */
    .set COUNT, CONTROL             /* of inputs */
    .set OLD, CONTROL + 4           /* entries */
    .set NEW, CONTROL + 8
    .set INDEX, CONTROL + 12
    .set RECORD, CONTROL + 16
    .set STACK, CONTROL + 20        /* ESP, while guest code may have another one */
    .set RANGES, CONTROL + 64       /* what is written to: (address, words); 0 words: no more */
    .set RECORD_BYTES, 204
    .set MOST, 16

    .code32
    .text
    .globl _start
_start:
    movl $172, %eax                 /* prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) */
    movl $22, %ebx
    movl $1, %ecx
    int $0x80
    movl $2, %ebx
    testl %eax, %eax
    jnz leave
next:
    movl INDEX, %eax
    cmpl COUNT, %eax
    jae done
    movl $PRISTINE, %ebx
    xorl %edx, %edx
    call copy
    movl OLD, %eax
    call run
    movl RECORD, %edi
    movl %eax, (%edi)
    xorl %ebx, %ebx
    movl $SAVED, %edx
    call copy
    movl $PRISTINE, %ebx
    xorl %edx, %edx
    call copy
    movl NEW, %eax
    call run
    movl RECORD, %edi
    movl %eax, 4(%edi)
    call compare
    incl INDEX
    addl $RECORD_BYTES, RECORD
    jmp next
done:
    movl $OUT, %ecx
    movl RECORD, %edx
    subl %ecx, %edx
    movl $1, %ebx
    movl $4, %eax                   /* write */
    int $0x80
    xorl %ebx, %ebx
leave:
    movl $1, %eax                   /* exit */
    int $0x80

/* Copies all ranges from address + EBX to address + EDX. */
copy:
    movl $RANGES, %ebp
1:  movl 4(%ebp), %ecx
    jecxz 2f
    movl (%ebp), %esi
    movl %esi, %edi
    addl %ebx, %esi
    addl %edx, %edi
    rep movsl
    addl $8, %ebp
    jmp 1b
2:  ret

/* Calls EAX with the current input; the stack below is zero, the x87 empty. */
run:
    movl %eax, %edx
    leal -0x20000(%esp), %edi
    movl $0x7F00, %ecx
    xorl %eax, %eax
    rep stosl
    movl %edx, %eax
    movl INDEX, %edx
    movl %esp, STACK
    pushl INPUTS + 4(,%edx,8)
    pushl INPUTS(,%edx,8)
    xorl %ecx, %ecx
    xorl %edx, %edx
    fninit
    call *%eax
    movl STACK, %esp
    fninit
    cld
    ret

/* Notes the words in which memory and what the old version left differ. */
compare:
    movl RECORD, %edx
    addl $8, %edx
    movl $0, (%edx)
    leal 4(%edx), %ebx
    movl $RANGES, %ebp
1:  movl 4(%ebp), %ecx
    jecxz 4f
    movl (%ebp), %esi
    leal SAVED(%esi), %edi
2:  repe cmpsl
    je 3f
    cmpl $MOST, (%edx)
    jae 4f
    incl (%edx)
    leal -4(%esi), %eax
    movl %eax, (%ebx)
    movl -4(%edi), %eax
    movl %eax, 4(%ebx)
    movl -4(%esi), %eax
    movl %eax, 8(%ebx)
    addl $12, %ebx
    testl %ecx, %ecx
    jnz 2b
3:  addl $8, %ebp
    jmp 1b
4:  ret

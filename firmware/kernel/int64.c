/* The compiler runtime's 64-bit division: clang calls these on i386 (compiler-rt, lib/builtins). */
#include "defs.h"

uint64_t __udivmoddi4(uint64_t dividend, uint64_t divisor, uint64_t *remainder);
uint64_t __udivdi3(uint64_t dividend, uint64_t divisor);
uint64_t __umoddi3(uint64_t dividend, uint64_t divisor);
int64_t __divdi3(int64_t dividend, int64_t divisor);
int64_t __moddi3(int64_t dividend, int64_t divisor);

/* DIV r/m32: EDX:EAX by 32 bits; the quotient fits because high < divisor. */
static uint32_t divide(uint32_t high, uint32_t low, uint32_t divisor, uint32_t *remainder) {
    uint32_t quotient;
    __asm__("divl %4" : "=a"(quotient), "=d"(*remainder) : "a"(low), "d"(high), "rm"(divisor));
    return quotient;
}

uint64_t __udivmoddi4(uint64_t dividend, uint64_t divisor, uint64_t *remainder) {
    uint32_t high = (uint32_t)(dividend >> 32), low = (uint32_t)dividend, rest;
    if (divisor >> 32 == 0) {
        uint32_t small = (uint32_t)divisor;
        uint32_t quotient_high = divide(0, high, small, &rest);     /* small = 0: #DE, as DIV does */
        uint32_t quotient_low = divide(rest, low, small, &rest);
        *remainder = rest;
        return (uint64_t)quotient_high << 32 | quotient_low;
    }
    if (dividend < divisor) {
        *remainder = dividend;
        return 0;
    }
    /* Knuth, The Art of Computer Programming vol. 2, 4.3.1: the estimate from the top word is at most 1 too large. */
    uint32_t shift = (uint32_t)__builtin_clz((uint32_t)(divisor >> 32));
    uint32_t top = (uint32_t)(divisor << shift >> 32);
    uint64_t half = dividend >> 1;
    uint32_t estimate = divide((uint32_t)(half >> 32), (uint32_t)half, top, &rest);
    uint64_t quotient = (uint64_t)estimate << shift >> 31;
    if (quotient > 0)
        quotient--;
    uint64_t left = dividend - quotient * divisor;
    if (left >= divisor) {
        quotient++;
        left -= divisor;
    }
    *remainder = left;
    return quotient;
}

uint64_t __udivdi3(uint64_t dividend, uint64_t divisor) {
    uint64_t remainder;
    return __udivmoddi4(dividend, divisor, &remainder);
}

uint64_t __umoddi3(uint64_t dividend, uint64_t divisor) {
    uint64_t remainder;
    (void)__udivmoddi4(dividend, divisor, &remainder);
    return remainder;
}

static uint64_t magnitude(int64_t value) {
    return value < 0 ? -(uint64_t)value : (uint64_t)value;
}

int64_t __divdi3(int64_t dividend, int64_t divisor) {
    uint64_t quotient = __udivdi3(magnitude(dividend), magnitude(divisor));
    return (dividend < 0) != (divisor < 0) ? (int64_t)-quotient : (int64_t)quotient;
}

int64_t __moddi3(int64_t dividend, int64_t divisor) {
    uint64_t remainder = __umoddi3(magnitude(dividend), magnitude(divisor));
    return dividend < 0 ? (int64_t)-remainder : (int64_t)remainder;
}

/* strlen, strcpy, strrev and strcmp on 64-byte buffers, a rounds, the texts made from b. Each round adds its length and
 * the sign of comparing a text with its reversal to a rolling checksum. */
#include <stdint.h>

#define BUFFER 64
#define SHORTEST 8
#define LENGTHS 9

char strops_text[BUFFER];
char strops_copy[BUFFER];

static uint32_t length(const char *text) {
    const char *end = text;

    while (*end != 0)
        end++;
    return (uint32_t)(end - text);
}

static void copy(char *to, const char *from) {
    while ((*to++ = *from++) != 0)
        ;
}

static void reverse(char *text, uint32_t size) {
    for (char *low = text, *high = text + size - 1; low < high; low++, high--) {
        char kept = *low;
        *low = *high;
        *high = kept;
    }
}

static int32_t compare(const char *x, const char *y) {
    while (*x != 0 && *x == *y) {
        x++;
        y++;
    }
    return *x < *y ? -1 : *x > *y;
}

int32_t strops_main(int32_t a, int32_t b) {
    uint32_t checksum = 0;
    uint32_t letter = (uint32_t)b % 26;

    for (int32_t round = 0; round < a; round++) {
        uint32_t size = SHORTEST + ((uint32_t)round * 7 + (uint32_t)b) % LENGTHS;
        for (uint32_t i = 0; i < size; i++) {
            strops_text[i] = (char)('a' + letter);
            letter += 11;
            if (letter >= 26)
                letter -= 26;
        }
        strops_text[size] = 0;
        copy(strops_copy, strops_text);
        reverse(strops_copy, size);
        checksum = checksum * 31 + length(strops_copy) + (uint32_t)compare(strops_text, strops_copy);
    }
    return (int32_t)checksum;
}

/*
 * Where is text cut before its bytes are merged? As GPT-2 cuts it, and SmolLM with digits one by one: the same as
 * bareflow_gdb/model/pieces.py, which makes the table of what each character is.
 */
#include "pieces.h"

enum kind { OTHER, LETTER, NUMBER, SPACE, BLANK, END };

/* First character << 2 | kind of it and of those up to the next entry's. */
static const uint32_t kinds[] = {
#include "text_kinds.inc"
};
#define KINDS (sizeof kinds / sizeof kinds[0])

struct text {
    const char *bytes;
    uint32_t end;
    bool digits;
};

static enum kind kind_of_character(uint32_t character) {
    uint32_t low = 0, high = KINDS;

    if (character == ' ')
        return BLANK;
    while (high - low > 1) {
        uint32_t middle = (low + high) / 2;
        if (kinds[middle] >> 2 <= character)
            low = middle;
        else
            high = middle;
    }
    return (enum kind)(kinds[low] & 3);
}

/* UTF-8; a byte that is none stands for itself. */
static uint32_t character_at(const struct text *text, uint32_t at, uint32_t *next) {
    const uint8_t *byte = (const uint8_t *)text->bytes + at;
    uint32_t more = *byte < 0xC2 ? 0 : *byte < 0xE0 ? 1 : *byte < 0xF0 ? 2 : *byte < 0xF5 ? 3 : 0;
    uint32_t character = more == 0 ? *byte : *byte & 0x3Fu >> more;

    *next = at + 1;
    if (more >= text->end - at)
        return UINT32_MAX >> 2;
    for (uint32_t i = 1; i <= more; i++) {
        if ((byte[i] & 0xC0) != 0x80)
            return UINT32_MAX >> 2;
        character = character << 6 | (byte[i] & 0x3F);
    }
    *next += more;
    return *byte >= 0x80 && more == 0 ? UINT32_MAX >> 2 : character;
}

static enum kind kind_at(const struct text *text, uint32_t at, uint32_t *next) {
    if (at == text->end)
        return END;
    enum kind kind = kind_of_character(character_at(text, at, next));
    return kind == NUMBER && text->digits ? END : kind;
}

/* The length of what is cut off behind an apostrophe, with it: 's, 't, 're, 've, 'm, 'll, 'd. */
static uint32_t suffix(const struct text *text, uint32_t at) {
    static const char *const suffixes[] = {"s", "t", "re", "ve", "m", "ll", "d"};

    if (text->bytes[at] != '\'')
        return 0;
    for (uint32_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
        uint32_t length = 0;
        while (suffixes[i][length] != 0 && at + 1 + length < text->end &&
               suffixes[i][length] == text->bytes[at + 1 + length])
            length++;
        if (suffixes[i][length] == 0)
            return 1 + length;
    }
    return 0;
}

static uint32_t run_of(const struct text *text, uint32_t at, enum kind kind) {
    uint32_t next;

    while (kind_at(text, at, &next) == kind)
        at = next;
    return at;
}

/* A run of blanks and spaces, without the last of them when something else follows. */
static uint32_t spaces(const struct text *text, uint32_t at) {
    uint32_t first = 0, last = at, next;
    enum kind kind;

    for (; (kind = kind_at(text, at, &next)) == BLANK || kind == SPACE; at = next) {
        if (first == 0)
            first = next;
        last = at;
    }
    return kind == END || last < first ? at : last;
}

uint32_t piece_end(const char *bytes, uint32_t at, uint32_t end, bool digits) {
    struct text text = {bytes, end, digits};
    uint32_t next = at, after, length = suffix(&text, at);
    enum kind kind = kind_at(&text, at, &next);

    if (length != 0)
        return at + length;
    if (kind == END)            /* a digit */
        return next;
    if (kind == BLANK) {
        enum kind following = kind_at(&text, next, &after);
        if (following == LETTER || following == NUMBER || following == OTHER)
            return run_of(&text, next, following);
    }
    return kind == BLANK || kind == SPACE ? spaces(&text, at) : run_of(&text, at, kind);
}

/* Formatted output: to COM1 and VGA together, to one of them, or to a buffer. The subset is in core.h. */
#include <stdarg.h>

#include "defs.h"

struct sink {
    void (*put)(struct sink *sink, char c);
    char *out;
    size_t size;
    size_t length;
};

struct spec {
    bool zero;
    bool left;
    bool precise;
    uint32_t width;
    uint32_t precision;
    uint32_t longs;
};

static void emit(struct sink *sink, char c) {
    sink->put(sink, c);
    sink->length++;
}

static void pad(struct sink *sink, char c, size_t length, uint32_t width) {
    for (; length < width; length++)
        emit(sink, c);
}

static void put_text(struct sink *sink, const char *text, const struct spec *spec) {
    size_t length = 0;
    while ((!spec->precise || length < spec->precision) && text[length])
        length++;
    if (!spec->left)
        pad(sink, ' ', length, spec->width);
    for (size_t i = 0; i < length; i++)
        emit(sink, text[i]);
    if (spec->left)
        pad(sink, ' ', length, spec->width);
}

static void put_number(struct sink *sink, uint64_t value, bool negative, uint32_t base, bool upper,
                       const struct spec *spec) {
    const char *digits = upper ? "0123456789ABCDEF" : "0123456789abcdef";
    char text[20];                      /* 2^64 has 20 decimal digits */
    size_t count = 0;
    do {
        text[count++] = digits[value % base];
        value /= base;
    } while (value);
    size_t length = count + negative;
    bool zero = spec->zero && !spec->left;
    if (!zero && !spec->left)
        pad(sink, ' ', length, spec->width);
    if (negative)
        emit(sink, '-');
    if (zero)
        pad(sink, '0', length, spec->width);
    while (count > 0)
        emit(sink, text[--count]);
    if (spec->left)
        pad(sink, ' ', length, spec->width);
}

static const char *parse(const char *format, struct spec *spec) {
    *spec = (struct spec){0};
    for (;; format++) {
        if (*format == '0')
            spec->zero = true;
        else if (*format == '-')
            spec->left = true;
        else
            break;
    }
    for (; *format >= '0' && *format <= '9'; format++)
        spec->width = spec->width * 10 + (uint32_t)(*format - '0');
    if (*format == '.') {
        spec->precise = true;
        for (format++; *format >= '0' && *format <= '9'; format++)
            spec->precision = spec->precision * 10 + (uint32_t)(*format - '0');
    }
    for (; *format == 'l' || *format == 'z'; format++)
        spec->longs += *format == 'l';
    return format;
}

static void format_to(struct sink *sink, const char *format, va_list arguments) {
    for (; *format; format++) {
        if (*format != '%') {
            emit(sink, *format);
            continue;
        }
        struct spec spec;
        format = parse(format + 1, &spec);
        bool wide = spec.longs >= 2;
        switch (*format) {
        case 'c':
            emit(sink, (char)va_arg(arguments, int));
            break;
        case 's': {
            const char *text = va_arg(arguments, const char *);
            put_text(sink, text ? text : "(null)", &spec);
            break;
        }
        case 'd':
        case 'i': {
            int64_t value = wide ? va_arg(arguments, int64_t) : va_arg(arguments, int32_t);
            put_number(sink, value < 0 ? -(uint64_t)value : (uint64_t)value, value < 0, 10, false, &spec);
            break;
        }
        case 'u':
        case 'x':
        case 'X': {
            uint64_t value = wide ? va_arg(arguments, uint64_t) : va_arg(arguments, uint32_t);
            put_number(sink, value, false, *format == 'u' ? 10 : 16, *format == 'X', &spec);
            break;
        }
        case 'p':
            spec = (struct spec){.zero = true, .width = 8};
            emit(sink, '0');
            emit(sink, 'x');
            put_number(sink, (uint32_t)va_arg(arguments, void *), false, 16, false, &spec);
            break;
        case '%':
            emit(sink, '%');
            break;
        case 0:
            return;
        default:                        /* unknown: print it as it stands, so that it is seen */
            emit(sink, '%');
            emit(sink, *format);
        }
    }
}

void kputchar(char c) {
    serial_putchar(c);
    terminal_putchar(c);
}

void kputs(const char *text) {
    while (*text)
        kputchar(*text++);
}

static void put_both(struct sink *sink, char c) {
    (void)sink;
    kputchar(c);
}

static void put_serial(struct sink *sink, char c) {
    (void)sink;
    serial_putchar(c);
}

static void put_terminal(struct sink *sink, char c) {
    (void)sink;
    terminal_putchar(c);
}

static void put_buffer(struct sink *sink, char c) {
    if (sink->length + 1 < sink->size)
        sink->out[sink->length] = c;
}

bool log_silent;

void kprintf(const char *format, ...) {
    if (log_silent)
        return;
    struct sink sink = {.put = put_both};
    va_list arguments;
    va_start(arguments, format);
    format_to(&sink, format, arguments);
    va_end(arguments);
}

void serial_printf(const char *format, ...) {
    struct sink sink = {.put = put_serial};
    va_list arguments;
    va_start(arguments, format);
    format_to(&sink, format, arguments);
    va_end(arguments);
}

void terminal_printf(const char *format, ...) {
    struct sink sink = {.put = put_terminal};
    va_list arguments;
    va_start(arguments, format);
    format_to(&sink, format, arguments);
    va_end(arguments);
}

size_t ksnprintf(char *out, size_t size, const char *format, ...) {
    struct sink sink = {.put = put_buffer, .out = out, .size = size};
    va_list arguments;
    va_start(arguments, format);
    format_to(&sink, format, arguments);
    va_end(arguments);
    if (size > 0)
        out[sink.length < size ? sink.length : size - 1] = 0;
    return sink.length;
}

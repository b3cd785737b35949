/* Sorts a numbers (at most 128) of an LCG seeded with b, shuffles and sorts again, five rounds. The result is the
 * sum of (i + 1) * v[i] after the last round, or -1 when a round left them out of order. */
#include <stdint.h>

#define LONGEST 128
#define ROUNDS 5
#define RUN 8

int32_t quicksort_values[LONGEST];
uint32_t quicksort_state;

/* The constants of Numerical Recipes' "quick and dirty" generator. */
static uint32_t next(void) {
    quicksort_state = quicksort_state * 1664525u + 1013904223u;
    return quicksort_state >> 16;
}

static void swap(int32_t *x, int32_t *y) {
    int32_t kept = *x;

    *x = *y;
    *y = kept;
}

static void insertion_sort(int32_t *first, int32_t *last) {
    for (int32_t *p = first + 1; p <= last; p++) {
        int32_t value = *p;
        int32_t *q = p;
        for (; q > first && q[-1] > value; q--)
            *q = q[-1];
        *q = value;
    }
}

static void sort(int32_t *first, int32_t *last) {
    if (last - first < RUN) {
        insertion_sort(first, last);
        return;
    }
    int32_t pivot = first[(last - first) / 2];
    int32_t *low = first;
    int32_t *high = last;

    while (low <= high) {
        while (*low < pivot)
            low++;
        while (*high > pivot)
            high--;
        if (low <= high)
            swap(low++, high--);
    }
    sort(first, high);
    sort(low, last);
}

int32_t quicksort_main(int32_t a, int32_t b) {
    int32_t *v = quicksort_values;
    int32_t n = a < 0 ? 0 : a > LONGEST ? LONGEST : a;
    uint32_t total = 0;

    quicksort_state = (uint32_t)b;
    for (int32_t i = 0; i < n; i++)
        v[i] = (int32_t)next();
    for (int32_t round = 0; round < ROUNDS; round++) {
        for (int32_t i = n - 1; i > 0; i--)
            swap(&v[i], &v[next() * (uint32_t)(i + 1) >> 16]);
        sort(v, v + n - 1);
        for (int32_t i = 1; i < n; i++)
            if (v[i - 1] > v[i])
                return -1;
    }
    for (int32_t i = 0; i < n; i++)
        total += (uint32_t)(i + 1) * (uint32_t)v[i];
    return (int32_t)total;
}

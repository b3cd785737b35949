/* How many tokens a second, at each tier of the matrix product? A token in which the tier changed counts for neither. */
#include "speed.h"

#include <stdbool.h>

#include "tiers.h"

#include "runtime.h"

#include "stock_kernel.h"

#include "jit.h"

#define TIERS BF_SPEED_TIERS     /* the image's levels; the host's code */

static struct bf_speed *tiers;
static uint64_t began;
static uint32_t version;        /* of the matrix product, when the token began */

static uint32_t tier_of(uint32_t number) {
    const struct bf_version *found = version_find(number);

    return found == NULL ? 0 : found->provider == BF_PROVIDER_HOST ? BF_LEVELS : found->level;
}

static void begin_token(void) {
    version = function_table[KERNEL_matmul].version;
    began = rdtsc();
}

void speed_begin(struct bf_inference *told) {
    tiers = told->speed;
    memset(tiers, 0, sizeof told->speed);
    begin_token();
}

void speed_count(void) {
    uint32_t tier = tier_of(version);

    if (version == function_table[KERNEL_matmul].version) {
        tiers[tier].tokens++;
        tiers[tier].cycles += rdtsc() - began;
    }
    begin_token();
}

void speed_print(void) {
    static const char *const names[TIERS] = {"O0", "O1", "O2", "O3", "the host's code"};

    for (uint32_t i = 0; i < TIERS; i++) {
        if (tiers[i].tokens == 0 || tiers[i].cycles == 0)
            continue;
        uint32_t tenths = (uint32_t)(10 * tiers[i].tokens * bareflow_status.tsc_hz / tiers[i].cycles);
        kprintf("[llama] matmul at %s: %u tokens, %u.%u tokens/s\n", names[i], tiers[i].tokens, tenths / 10,
                tenths % 10);
    }
}

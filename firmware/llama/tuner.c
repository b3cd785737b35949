/*
 * Is a kernel's new code faster than what it replaced? What a CPU's vectors are worth is not known before it has been
 * tried: an emulator may compute them one by one. Compared are whole tokens, the quickest of some, for the host takes
 * the CPU away when it likes.
 */
#include "tuner.h"

#include "tiers.h"

#include "runtime.h"

#include "stock_kernel.h"

#include "jit.h"

#define TOKENS 6                /* that new code is given */
#define SLOWER(now, before) ((now) > (before) + (before) / 4)

static struct trial {
    uint32_t version;           /* that is published; 0 = not looked at yet */
    uint32_t before;            /* the one that it replaced */
    uint32_t tokens;            /* that it has computed, whole */
    uint64_t best;              /* cycles of the quickest of them */
    uint64_t best_before;       /* 0 = not known */
    uint64_t counted;           /* cycles of the kernel when the token began */
} trials[KERNEL_COUNT];

static uint64_t cycles_of(uint32_t kernel) {
    return adaptive_jit.profiler.functions[function_table[kernel].profiler_id].total_cycles;
}

void tuner_begin(void) {
    for (uint32_t i = 0; i < KERNEL_COUNT; i++)
        trials[i].counted = cycles_of(i);
}

static void roll_back(uint32_t kernel, const struct trial *trial) {
    uint32_t slower = trial->version, kilocycles = (uint32_t)(trial->best / 1000);

    tiers_about_to_tell();
    if (publish_roll_back(kernel, trial->before))
        kprintf("[llama] %s: version %u takes %u kilocycles a token, version %u took %u: rolled back\n",
                function_table[kernel].name, slower, kilocycles, trial->before, (uint32_t)(trial->best_before / 1000));
}

static void look(uint32_t kernel, struct trial *trial) {
    uint32_t version = function_table[kernel].version;
    uint64_t cycles = cycles_of(kernel) - trial->counted;

    if (version != trial->version) {
        trial->before = trial->version;
        trial->best_before = trial->tokens == 0 ? 0 : trial->best;
        trial->version = version;
        trial->tokens = 0;
        return;
    }
    if (trial->tokens == 0 || cycles < trial->best)
        trial->best = cycles;
    trial->tokens++;
    if (trial->tokens != TOKENS || trial->best_before == 0 || !SLOWER(trial->best, trial->best_before))
        return;
    const struct bf_version *record = version_find(version);
    if (record != NULL && record->reason == BF_REASON_APPLICATION && record->provider == BF_PROVIDER_HOST)
        roll_back(kernel, trial);
}

void tuner_token_done(void) {
    for (uint32_t i = 0; i < KERNEL_COUNT; i++)
        look(i, &trials[i]);
    tuner_begin();
}

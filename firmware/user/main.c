/*
 * The module system in user space: the kernel's own loader and pools, the modules' own images.
 *   module_test                 the tests that the kernel runs at boot; exit code 1 when one fails
 *   module_test IMAGE < INPUTS  runs one module image: 8 bytes (a, b) in, 4 bytes (the result) out, per call
 */
#include "user.h"

#define LARGEST_IMAGE 65536

static uint8_t image[LARGEST_IMAGE] __attribute__((aligned(16)));

static uint32_t run_tests(void) {
    kprintf("MODULE SYSTEM TEST (USERSPACE)\n");
    uint32_t failed = 10 - pools_self_test();
    module_load_embedded();
    failed += module_test_results();
    failed += module_test_life();
    kprintf("=== ALL MODULE TESTS COMPLETED ===\n");
    return failed;
}

static uint32_t run_image(const char *path) {
    int32_t file = user_open(path);
    int32_t pair[2];

    if (file < 0) {
        kprintf("module_test: cannot open %s\n", path);
        return 2;
    }
    uint32_t size = user_read((uint32_t)file, image, sizeof image);
    jit_allocator_init();
    module_init();
    struct module_image parts;
    const char *wrong = module_image_open(&parts, image, size);
    if (wrong != NULL) {
        kprintf("module_test: %s: %s\n", path, wrong);
        return 1;
    }
    pool_mute(true);
    struct module_parts placed;
    bf_ptr data = module_image_place_data(&parts, BF_OWNER_MODULE, 0);
    if (!module_image_place(&parts, data, BF_OWNER_MODULE, 0, &placed))
        return 1;
    while (user_read(0, pair, sizeof pair) == sizeof pair) {
        int32_t result = ((jit_code_t)placed.entry)(pair[0], pair[1]);
        user_write(&result, sizeof result);
    }
    return 0;
}

_Noreturn void user_main(const uint32_t *stack) {
    uint32_t count = stack[0];

    user_map_pools();
    uint32_t failed = count > 1 ? run_image((const char *)stack[2]) : run_tests();
    user_exit(failed == 0 ? 0 : 1);
}

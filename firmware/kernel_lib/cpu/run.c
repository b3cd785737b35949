/* From the core to the application and to the end. */
#include "runtime.h"

/* The core measures time into it, with or without the debug interface. */
struct bf_status bareflow_status;

/* debug/root.c, when the image has the debug interface. */
__attribute__((weak)) void debug_interface_start(void);
__attribute__((weak)) void debug_interface_hold(void);

_Noreturn void bareflow_run(void) {
    if (debug_interface_start)
        debug_interface_start();
    if (application_register)
        application_register();
    boot_stage(BF_STAGE_REGISTERED);
    if (debug_interface_hold)
        debug_interface_hold();
    boot_stage(BF_STAGE_RUNNING);
    main();
    boot_stage(BF_STAGE_IDLE);
    boot_stage(BF_STAGE_HALTED);
    cpu_halt();
}

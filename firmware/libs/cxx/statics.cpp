/* Objects of static storage: guards of function-local ones, and their destructors. */
#include "cxx.h"

/* The kernel is never unloaded and does not return: destructors of static objects have no time to run at. */
extern "C" int __cxa_atexit(void (*)(void *), void *, void *) {
    return 0;
}

extern "C" {
extern void *__dso_handle;
void *__dso_handle = nullptr;
}

/* Itanium C++ ABI 3.3.3: the first byte says "initialised"; the second is this runtime's own: "being initialised". */
struct guard {
    uint8_t done;
    uint8_t busy;
};

extern "C" int __cxa_guard_acquire(guard *object) {
    if (object->done != 0)
        return 0;
    if (object->busy != 0)
        cxx_fatal("a static object's initialiser needs that object");
    object->busy = 1;
    return 1;
}

extern "C" void __cxa_guard_release(guard *object) {
    object->busy = 0;
    object->done = 1;
}

extern "C" void __cxa_guard_abort(guard *object) {
    object->busy = 0;
}

#include "cxx.h"

extern "C" void cxx_fatal(const char *reason) {
    kprintf("[C++] fatal: %s\n", reason);
    cpu_halt();
}

extern "C" [[noreturn]] void __cxa_pure_virtual(void) {
    cxx_fatal("a pure virtual function was called");
}

extern "C" [[noreturn]] void __cxa_deleted_virtual(void) {
    cxx_fatal("a deleted virtual function was called");
}

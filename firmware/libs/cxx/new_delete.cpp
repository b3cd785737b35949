/* new and delete over the kernel's heap. Each new returns memory or does not return, as C++ without exceptions needs. */
#include "cxx.h"

void *operator new(size_t bytes) {
    void *memory = malloc(bytes > 0 ? bytes : 1);
    if (memory == nullptr)
        cxx_fatal("the heap has no room for an operator new");
    return memory;
}

void *operator new[](size_t bytes) {
    return operator new(bytes);
}

void operator delete(void *pointer) noexcept {
    free(pointer);
}

void operator delete[](void *pointer) noexcept {
    free(pointer);
}

void operator delete(void *pointer, size_t) noexcept {
    free(pointer);
}

void operator delete[](void *pointer, size_t) noexcept {
    free(pointer);
}

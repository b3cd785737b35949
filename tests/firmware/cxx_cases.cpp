/* Uses of C++ that must end in a clear message instead of in memory that is not there. */
#include "cxx.h"

namespace {

struct Abstract {
    explicit Abstract(int32_t depth) {
        call(depth);
    }
    virtual ~Abstract() = default;
    virtual void act() = 0;
    void call(int32_t depth) {
        if (depth > 0)
            act();
    }
};

struct Concrete : Abstract {
    using Abstract::Abstract;
    void act() override {
    }
};

uint32_t circular(uint32_t depth) {
    static const uint32_t value = depth < 2 ? circular(depth + 1) : depth;
    return value;
}

}

extern "C" {

extern void *sink;
void *sink;

void allocate(uint32_t bytes) {
    sink = new char[bytes];
}

void release(uint32_t) {
    delete[] static_cast<char *>(sink);
}

void call_pure_virtual(uint32_t depth) {
    Concrete object(static_cast<int32_t>(depth));
    sink = &object;
}

void need_itself(uint32_t) {
    sink = reinterpret_cast<void *>(circular(0));
}

}

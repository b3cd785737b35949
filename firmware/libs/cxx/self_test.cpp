/* What C++ in the kernel relies on, tried in the guest: constructors run before main, in order, and once. */
#include "cxx.h"
#include "cxx_tests.h"

namespace {

constexpr uint32_t CONSTRUCTED = 0xC0DE0001;

/* Volatile: else the compiler constructs the objects itself, and there is nothing left to test. */
volatile uint32_t constructions;

struct Probe {
    uint32_t mark;
    uint32_t order;

    Probe() {
        uint32_t number = constructions + 1;
        constructions = number;
        mark = CONSTRUCTED;
        order = number;
    }
};

Probe first;
Probe second;

struct Shape {
    virtual ~Shape() = default;
    virtual int32_t area() const = 0;
};

int32_t destroyed;

struct Rectangle final : Shape {
    int32_t width;
    int32_t height;

    Rectangle(int32_t width, int32_t height) : width(width), height(height) {
    }
    ~Rectangle() override {
        destroyed += area();
    }
    int32_t area() const override {
        return width * height;
    }
};

/* Hides from the optimiser which class a shape has, so that the call goes through its table. */
Shape *unknown(Shape *shape) {
    __asm__ volatile("" : "+r"(shape));
    return shape;
}

uint32_t once_calls;

uint32_t once() {
    static const uint32_t value = [] { return ++once_calls; }();
    return value;
}

uint32_t check(const char *what, bool right) {
    kprintf("[C++] %s  %s\n", what, right ? "[OK]" : "[FAILED]");
    return right ? 0 : 1;
}

}

extern "C" uint32_t cxx_run_tests(void) {
    uint32_t failed = 0;

    failed += check("Global constructors called", first.mark == CONSTRUCTED && second.mark == CONSTRUCTED);
    failed += check("in the order of their definition", first.order == 1 && second.order == 2);

    bool same = once() == 1 && once() == 1;
    failed += check("a function's static object is initialised once", same && once_calls == 1);

    Shape *shape = unknown(new Rectangle(6, 7));
    int32_t area = shape->area();
    delete shape;
    failed += check("a virtual function is called through its table", area == 42);
    failed += check("delete calls the destructor", destroyed == 42);
    return failed;
}

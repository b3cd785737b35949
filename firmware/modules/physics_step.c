/* A body on two springs, one along x and a stiffer one along y, pushed from (1, 0) with a speed of b / 1000 along y:
 * a steps of Verlet integration of 1/64 s. The result is x + y after them, in millionths, rounded. */
#include <stdint.h>

#define STEP (1.0 / 64.0)
#define STIFFNESS_X 1.0
#define STIFFNESS_Y 2.25

double physics_step_position[2];
double physics_step_previous[2];

int32_t physics_step_main(int32_t a, int32_t b) {
    double *now = physics_step_position;
    double *before = physics_step_previous;

    now[0] = 1.0;
    now[1] = 0.0;
    before[0] = 1.0;
    before[1] = -(double)b / 1000.0 * STEP;
    for (int32_t i = 0; i < a; i++) {
        double x = now[0], y = now[1];
        now[0] = 2.0 * x - before[0] - STIFFNESS_X * STEP * STEP * x;
        now[1] = 2.0 * y - before[1] - STIFFNESS_Y * STEP * STEP * y;
        before[0] = x;
        before[1] = y;
    }
    double sum = (now[0] + now[1]) * 1000000.0;
    return (int32_t)(sum < 0.0 ? sum - 0.5 : sum + 0.5);
}

/* A 32-point FFT (decimation in time, bit reversal first) of ((n * a + b) mod 17) - 8, told as one number:
 * the sum of (k + 1) * round(|X[k]|^2). */
#include <stdint.h>

#define POINTS 32
#define BITS 5

/* cos and sin of 2 pi k / 32 for k < 16. */
static const double cosine[POINTS / 2] = {
    1.0, 0.98078528040323044913, 0.92387953251128675613, 0.83146961230254523708,
    0.70710678118654752440, 0.55557023301960222474, 0.38268343236508977173, 0.19509032201612826785,
    0.0, -0.19509032201612826785, -0.38268343236508977173, -0.55557023301960222474,
    -0.70710678118654752440, -0.83146961230254523708, -0.92387953251128675613, -0.98078528040323044913,
};
static const double sine[POINTS / 2] = {
    0.0, 0.19509032201612826785, 0.38268343236508977173, 0.55557023301960222474,
    0.70710678118654752440, 0.83146961230254523708, 0.92387953251128675613, 0.98078528040323044913,
    1.0, 0.98078528040323044913, 0.92387953251128675613, 0.83146961230254523708,
    0.70710678118654752440, 0.55557023301960222474, 0.38268343236508977173, 0.19509032201612826785,
};

double fft_1d_re[POINTS];
double fft_1d_im[POINTS];

static uint32_t reversed(uint32_t n) {
    uint32_t result = 0;

    for (uint32_t bit = 0; bit < BITS; bit++)
        result |= (n >> bit & 1) << (BITS - 1 - bit);
    return result;
}

int32_t fft_1d_main(int32_t a, int32_t b) {
    double *re = fft_1d_re;
    double *im = fft_1d_im;
    uint32_t total = 0;

    for (uint32_t n = 0; n < POINTS; n++) {
        uint32_t at = reversed(n);
        re[at] = (int32_t)((n * (uint32_t)a + (uint32_t)b) % 17) - 8;
        im[at] = 0.0;
    }
    for (uint32_t half = 1; half < POINTS; half *= 2) {
        uint32_t stride = POINTS / 2 / half;
        for (uint32_t k = 0; k < half; k++) {
            double c = cosine[k * stride];
            double s = -sine[k * stride];
            for (uint32_t top = k; top < POINTS; top += 2 * half) {
                uint32_t bottom = top + half;
                double x = re[bottom] * c - im[bottom] * s;
                double y = re[bottom] * s + im[bottom] * c;
                re[bottom] = re[top] - x;
                im[bottom] = im[top] - y;
                re[top] += x;
                im[top] += y;
            }
        }
    }
    for (uint32_t k = 0; k < POINTS; k++)
        total += (k + 1) * (uint32_t)(int32_t)(re[k] * re[k] + im[k] * im[k] + 0.5);
    return (int32_t)total;
}

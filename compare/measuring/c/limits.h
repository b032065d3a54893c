/* Where float32 and float64 stop being enough, in one place for all instruction sets. */

#ifndef LAYERTUI_LIMITS_H
#define LAYERTUI_LIMITS_H

#include <float.h>

#define RELATIVE_FLOOR 1e-8  /* sums.py has the same */
#define MOST_TOLERANCE 1e20  /* and this: its products stay in float32's range */
#define SAFE_SMALL 1e-15f    /* magnitudes whose squares and sums float32 can hold */
#define SAFE_LARGE 1e15f
#define MEAN_SHARE 0.2       /* of squares about zero that the variance must be at least */
#define ALIKE 0x1p-7         /* squared sine between d and x below which d is a multiple of x */
#define FAR_APART 0.25       /* |d|^2 over |x|^2 from which y gets sums of its own */
#define LEAST64 1e-140       /* magnitudes whose squares float64 can hold */
#define MOST64 1e140

/* Whether the variance kept its digits; no if a sum is NaN. */
static inline int keeps_digits(double about_zero, double about_mean) {
    return about_mean >= MEAN_SHARE * about_zero;
}

static inline double at_least_zero(double x) {
    return x < 0 ? 0 : x;
}

/* Whether the squares of a tile with these extremes fit into float32. */
static inline int safe(float low, float high) {
    if (!(-SAFE_LARGE < low && low <= high && high < SAFE_LARGE))
        return 0;
    return (low == 0 && high == 0) || low < -SAFE_SMALL || high > SAFE_SMALL;
}

/* Whether the squares of numbers with these extremes fit into float64. */
static inline int in_range(double low, double high) {
    double most = -low > high ? -low : high;
    return most == 0 || (LEAST64 < most && most < MOST64);
}

static inline int is_finite(double x) {
    return x - x == 0;
}

/* Whether a pair is outside the tolerance, in the arithmetic of its type. */
static inline int outside32(float x, float y, float rtol, float atol) {
    float d = y - x, bound = (x < 0 ? -x : x) * rtol;
    bound = bound + atol;
    return !((d < 0 ? -d : d) <= bound);
}

static inline int outside64(double x, double y, double rtol, double atol) {
    double d = y - x, bound = (x < 0 ? -x : x) * rtol;
    bound = bound + atol;
    return !((d < 0 ? -d : d) <= bound);
}

static inline float float32_of(double tolerance) {
    return (float)(tolerance > MOST_TOLERANCE ? MOST_TOLERANCE : tolerance);
}

/* The greatest float32 that is not above x, at least roughly: never above. */
static inline float rounded_down(double x) {
    float near = x > FLT_MAX ? FLT_MAX : (float)x;
    if (near <= x)
        return near;
    return near > 0 ? near * (1 - FLT_EPSILON) : near * (1 + FLT_EPSILON) - FLT_MIN;
}

#endif

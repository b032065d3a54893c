/* A block, tile by tile, for one instruction set: `TARGET`, `FUNCTION`, `NAMED`, and `LANES`, the
   number of float32 in a register, say which. */

typedef float NAMED(floats) __attribute__((vector_size(4 * LANES)));
typedef int32_t NAMED(bits32) __attribute__((vector_size(4 * LANES)));
typedef double NAMED(doubles) __attribute__((vector_size(4 * LANES)));
typedef int64_t NAMED(bits64) __attribute__((vector_size(4 * LANES)));
typedef float NAMED(half_floats) __attribute__((vector_size(2 * LANES)));

#define FLOATS NAMED(floats)
#define DOUBLES NAMED(doubles)

#define CHOSEN(a, b, mask) ((REALS)(((mask) & (BITS)(a)) | (~(mask) & (BITS)(b))))

#define REAL float
#define REALS NAMED(floats)
#define BITS NAMED(bits32)
#define WIDTH LANES
#define OF_TYPE(name) NAMED(name##_float)
#define ALL_BUT_SIGN 0x7fffffff
#define LEAST LESSER
#define MOST GREATER
#define ROUNDED_DOWN rounded_down
#include "look.h"

#define REAL double
#define REALS NAMED(doubles)
#define BITS NAMED(bits64)
#define WIDTH (LANES / 2)
#define OF_TYPE(name) NAMED(name##_double)
#define ALL_BUT_SIGN 0x7fffffffffffffff
#define LEAST(a, b) CHOSEN(a, b, (a) < (b))
#define MOST(a, b) CHOSEN(a, b, (a) > (b))
#define ROUNDED_DOWN(x) (x)
#include "look.h"
#undef CHOSEN

#include "sums.h"

#include "widen.h"

#include "odd.h"

#include "weigh.h"

/* Takes in what a look at a tile saw. */
#define TAKE(seen, m, sum_abs_of_it)                                                               \
    do {                                                                                           \
        add_moments(&out->pair, &(m));                                                             \
        add_side(&out->reference, (m).n, (seen).low_x, (seen).high_x, (m).mean_x, (m).xx);         \
        add_side(&out->candidate, (m).n, (seen).low_y, (seen).high_y, (m).mean_y, (m).yy);         \
        out->reference.zeros += (seen).zeros_x;                                                    \
        out->candidate.zeros += (seen).zeros_y;                                                    \
        out->sum_abs += (sum_abs_of_it);                                                           \
        out->mismatched += (seen).mismatched;                                                      \
        out->equal &= (seen).top == 0;                                                             \
    } while (0)

/* A tile of float32 numbers. 1: taken in; 0: it holds NaN or Inf. */
FUNCTION int NAMED(narrow_tile)(
    const float *x, const float *y, size_t n, size_t from, double *wide, pass *out) {
    moments m;
    double sum_abs;
    int enough = NAMED(moments32)(x, y, n, &m, &sum_abs);
    NAMED(looked_at_float) seen = NAMED(look_float)(
        x, y, n, float32_of(out->rtol), float32_of(out->atol),
        rounded_down(out->relative.value));
    if (!enough || !safe(seen.low_x, seen.high_x) || !safe(seen.low_y, seen.high_y) ||
        (seen.top > 0 && seen.top < SAFE_SMALL)) {
        for (size_t i = 0; i < n; i++)
            wide[i] = x[i];
        for (size_t i = 0; i < n; i++)
            wide[TILE + i] = y[i];
        m = NAMED(moments64)(wide, wide + TILE, n, &sum_abs);
        if (!is_finite(m.xx) || !is_finite(m.yy))
            return 0;
    }
    NAMED(greatest_float)(x, y, n, from, &seen, out);
    TAKE(seen, m, sum_abs);
    return 1;
}

/* A tile of float64 numbers. 1: taken in; 0: it holds NaN or Inf, or is out of range. */
FUNCTION int NAMED(wide_tile)(
    const double *x, const double *y, size_t n, size_t from, pass *out) {
    double sum_abs;
    moments m = NAMED(moments64)(x, y, n, &sum_abs);
    if (!is_finite(m.xx) || !is_finite(m.yy) || !is_finite(m.dd))
        return 0;
    NAMED(looked_at_double) seen =
        NAMED(look_double)(x, y, n, out->rtol, out->atol, out->relative.value);
    if (!in_range(seen.low_x, seen.high_x) || !in_range(seen.low_y, seen.high_y) ||
        !in_range(-seen.top, seen.top))
        return 0;
    NAMED(greatest_double)(x, y, n, from, &seen, out);
    TAKE(seen, m, sum_abs);
    return 1;
}

static TARGET int NAMED(block)(const side_in *x, const side_in *y, size_t count, pass *out) {
    float room_x[TILE], room_y[TILE];
    double wide[2 * TILE];
    const int narrow = x->kind != FLOAT64 && y->kind != FLOAT64;
    for (size_t from = 0; from < count; from += TILE) {
        size_t n = count - from < TILE ? count - from : TILE;
        if (narrow && NAMED(narrow_tile)(
                          NAMED(as_float32)(x, from, n, room_x),
                          NAMED(as_float32)(y, from, n, room_y), n, from, wide, out))
            continue;
        const double *left = NAMED(as_float64)(x, from, n, wide);
        const double *right = NAMED(as_float64)(y, from, n, wide + TILE);
        if (!narrow && NAMED(wide_tile)(left, right, n, from, out))
            continue;
        if (!NAMED(odd_tile)(left, right, n, from, narrow, out))
            return 1;
    }
    return 0;
}

#undef TAKE
#undef FLOATS
#undef DOUBLES
#undef TARGET
#undef FUNCTION
#undef NAMED
#undef LANES
#undef LESSER
#undef GREATER
#undef FUSED

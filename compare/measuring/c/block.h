/* A block, stretch by stretch, for one instruction set: `TARGET`, `FUNCTION`, `NAMED`, and `LANES`,
   the number of float32 in a register, say which. */

typedef float NAMED(floats) __attribute__((vector_size(4 * LANES)));
typedef int32_t NAMED(bits32) __attribute__((vector_size(4 * LANES)));
typedef uint32_t NAMED(raw32) __attribute__((vector_size(4 * LANES)));
typedef uint16_t NAMED(words) __attribute__((vector_size(2 * LANES)));
typedef int16_t NAMED(pairs16) __attribute__((vector_size(4 * LANES)));
typedef uint16_t NAMED(raw16) __attribute__((vector_size(4 * LANES)));
typedef double NAMED(doubles) __attribute__((vector_size(4 * LANES)));
typedef int64_t NAMED(bits64) __attribute__((vector_size(4 * LANES)));
typedef uint64_t NAMED(raw64) __attribute__((vector_size(4 * LANES)));
typedef float NAMED(half_floats) __attribute__((vector_size(2 * LANES)));

#define INLINED static inline __attribute__((always_inline)) TARGET
#define FLOATS NAMED(floats)
#define DOUBLES NAMED(doubles)

/* Takes one from the lanes of `total` in which a is at most b; a comparison is minus one there. */
#ifndef LESS_ONE
#define LESS_ONE(total, a, b) ((total) + ((a) <= (b)))
#endif

/* Whether a is more than b in any lane of float64. */
#ifndef ANY_MORE
#define ANY_MORE(a, b) ((a)[0] > (b)[0] || (a)[1] > (b)[1])
#endif

/* a where a lane of the mask is true, else b; `bits` are whole numbers as wide as they are. */
#define CHOSEN(bits, a, b, mask)                                                                   \
    ((__typeof__(a))(((bits)(mask) & (bits)(a)) | (~(bits)(mask) & (bits)(b))))

/* a b + c of float64, rounded once where the processor does that. */
#ifndef FUSED_DOUBLE
#define FUSED_DOUBLE(a, b, c) ((a) * (b) + (c))
#endif

/* The greater and the lesser of two registers of float64; b where neither is. */
#ifndef GREATER_DOUBLE
#define GREATER_DOUBLE(a, b) CHOSEN(NAMED(bits64), a, b, (a) > (b))
#define LESSER_DOUBLE(a, b) CHOSEN(NAMED(bits64), a, b, (a) < (b))
#endif

#define REAL float
#define REALS NAMED(floats)
#define BITS NAMED(bits32)
#define OF_TYPE(name) NAMED(name##_float)
#define ALL_BUT_SIGN 0x7fffffff
#define ROUNDED_DOWN rounded_down
#include "greatest.h"

#define REAL double
#define REALS NAMED(doubles)
#define BITS NAMED(bits64)
#define OF_TYPE(name) NAMED(name##_double)
#define ALL_BUT_SIGN 0x7fffffffffffffff
#define ROUNDED_DOWN(x) (x)
#include "greatest.h"

#include "widen.h"

#include "look.h"

#include "sums.h"

#include "gather.h"

#include "odd.h"

#include "weigh.h"

#include "select.h"

#include "even_sums.h"

#define NUMBER double
#define OF_TYPE(name) NAMED(name##_double)
#define LOAD_NUMBERS(from) NAMED(load_double)(from)
#include "even.h"

#define NUMBER float
#define OF_TYPE(name) NAMED(name##_float)
#define LOAD_NUMBERS(from) NAMED(load_widened)(from)
#include "even.h"

#include "fits.h"

#include "rounding.h"

#include "some.h"

#include "divergence.h"

FUNCTION void NAMED(take)(
    pass *out, const looked_at *seen, const moments *m, double sum_abs) {
    add_moments(&out->pair, m);
    add_side(&out->reference, m->n, seen->low_x, seen->high_x, m->mean_x, m->xx);
    add_side(&out->candidate, m->n, seen->low_y, seen->high_y, m->mean_y, m->yy);
    out->reference.zeros += seen->zeros_x;
    out->candidate.zeros += seen->zeros_y;
    out->sum_abs += sum_abs;
    out->mismatched += seen->mismatched;
    out->equal &= seen->top == 0;
}

/* The greatest differences of float32 numbers or narrower ones, where a loop saw that there may be
   greater ones than before. */
FUNCTION void NAMED(greatest_of)(
    const side_in *x, const side_in *y, size_t from, size_t n, const looked_at *seen, pass *out) {
    float room_x[TILE], room_y[TILE];
    if (!seen->relative && !(seen->top > rounded_down(out->absolute.value)))
        return;
    for (size_t at = from; at < from + n; at += TILE) {
        const size_t some = from + n - at < TILE ? from + n - at : TILE;
        NAMED(greatest_float)(
            NAMED(as_float32)(x, at, some, room_x), NAMED(as_float32)(y, at, some, room_y), some,
            at, seen, out);
    }
}

/* float32 numbers or narrower ones. 1: taken in; 0: there is NaN or Inf among them, or they are
   more than TILE and need float64. */
FUNCTION int NAMED(narrow)(
    const side_in *x, const side_in *y, size_t from, size_t n, double *wide, pass *out) {
    const gathered found = NAMED(gather)(x, y, from, n, out);
    moments m;
    double sum_abs = found.sums[2];
    if (!all_finite(&found.x) || !all_finite(&found.y))
        return 0;
    const looked_at seen = {
        lowest(&found.x), highest(&found.x), lowest(&found.y), highest(&found.y), found.top,
        found.relative, found.mismatched,
        found.x.least_size ? 0 : NAMED(zeros_of)(x, from, n),
        found.y.least_size ? 0 : NAMED(zeros_of)(y, from, n)};
    if (!safe(seen.low_x, seen.high_x) || !safe(seen.low_y, seen.high_y) ||
        (found.top > 0 && found.top < SAFE_SMALL) ||
        !NAMED(moments32)(x, y, from, n, found.sums, &m)) {
        if (n > TILE)
            return 0;
        m = NAMED(moments64)(
            NAMED(as_float64)(x, from, n, wide), NAMED(as_float64)(y, from, n, wide + TILE), n,
            &sum_abs);
    }
    NAMED(greatest_of)(x, y, from, n, &seen, out);
    NAMED(take)(out, &seen, &m, sum_abs);
    return 1;
}

/* A tile of float64 numbers. 1: taken in; 0: it holds NaN or Inf, or is out of range. */
FUNCTION int NAMED(wide_tile)(
    const double *x, const double *y, size_t n, size_t from, pass *out) {
    double sum_abs;
    moments m = NAMED(moments64)(x, y, n, &sum_abs);
    if (!is_finite(m.xx) || !is_finite(m.yy) || !is_finite(m.dd))
        return 0;
    looked_at seen = NAMED(look)(x, y, n, out->rtol, out->atol, out->relative.value);
    if (!in_range(seen.low_x, seen.high_x) || !in_range(seen.low_y, seen.high_y) ||
        !in_range(-seen.top, seen.top))
        return 0;
    NAMED(greatest_double)(x, y, n, from, &seen, out);
    NAMED(take)(out, &seen, &m, sum_abs);
    return 1;
}

/* Tile by tile. 1: a job for numpy. */
FUNCTION int NAMED(tiles)(
    const side_in *x, const side_in *y, size_t from, size_t count, int narrow, pass *out) {
    double wide[2 * TILE];
    for (const size_t end = from + count; from < end; from += TILE) {
        size_t n = end - from < TILE ? end - from : TILE;
        if (narrow && NAMED(narrow)(x, y, from, n, wide, out))
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

/* n elements as numbers of a type, which `as` makes of a tile of them: of those that are float32 or
   narrower float32, and of all float64. */
#define WIDEN(name, type, as)                                                                      \
    static TARGET void NAMED(name)(const side_in *side, size_t n, void *to) {                      \
        type *out = to;                                                                            \
        for (size_t at = 0; at < n; at += TILE) {                                                  \
            const size_t some = n - at < TILE ? n - at : TILE;                                     \
            const type *found = NAMED(as)(side, at, some, out + at);                               \
            if (found != out + at)                                                                 \
                memcpy(out + at, found, some * sizeof *out);                                       \
        }                                                                                          \
    }
WIDEN(widen_to_float, float, as_float32)
WIDEN(widen, double, as_float64)
#undef WIDEN

static TARGET int NAMED(block)(const side_in *x, const side_in *y, size_t count, pass *out) {
    const int narrow = x->kind != FLOAT64 && y->kind != FLOAT64;
    const size_t most = narrow && NAMED(gathering)(x->kind, y->kind) ? STRETCH : TILE;
    for (size_t from = 0; from < count; from += most) {
        size_t n = count - from < most ? count - from : most;
        if (n > TILE && NAMED(narrow)(x, y, from, n, NULL, out))
            continue;
        if (NAMED(tiles)(x, y, from, n, narrow, out))
            return 1;
    }
    return 0;
}

#undef CHOSEN
#undef INLINED
#undef LESS_ONE
#undef FLOATS
#undef DOUBLES
#undef TARGET
#undef FUNCTION
#undef NAMED
#undef LANES
#undef FUSED
#undef MOST_SIGNED
#undef MOST_RAW
#undef LEAST_RAW
#undef MOST_SIGNED16
#undef MOST_RAW16
#undef LEAST_RAW16
#undef WIDEN_HALVES
#undef WIDEN_WORDS
#undef KEEP_WITHIN
#undef ANY_MORE
#undef FUSED_DOUBLE
#undef GREATER_DOUBLE
#undef LESSER_DOUBLE
#undef WIDEN_LOW
#undef WIDEN_HIGH
#undef WIDEN_FLOATS

/* Sums, extremes and counts of a stretch of float32 numbers or narrower, in one loop that widens
   them in registers. Included once for every instruction set. */

#ifndef WIDEN_WORDS
FUNCTION inline NAMED(raw32) NAMED(widen_words)(const uint16_t *from) {
    NAMED(words) raw;
    __builtin_memcpy(&raw, from, sizeof raw);
    return __builtin_convertvector(raw, NAMED(raw32));
}
#define WIDEN_WORDS NAMED(widen_words)
#endif

/* LANES elements from `i` on; `kind` is known when this is compiled. */
INLINED FLOATS NAMED(lanes_of)(const void *data, size_t i, const enum kind kind) {
    if (kind == BFLOAT16)
        return (FLOATS)(WIDEN_WORDS((const uint16_t *)data + i) << 16);
#ifdef WIDEN_HALVES
    if (kind == FLOAT16)
        return WIDEN_HALVES((const uint16_t *)data + i);
#endif
    return NAMED(load_float)((const float *)data + i);
}

/* What the loop below cannot take in whole registers: fewer than LANES pairs. */
FUNCTION void NAMED(gather_rest)(
    const float *x, const float *y, size_t n, const pass *given, gathered *out) {
    const float rtol = float32_of(given->rtol), atol = float32_of(given->atol);
    const float rel = rounded_down(given->relative.value);
    for (size_t i = 0; i < n; i++) {
        float p = x[i], d = y[i] - p, a = __builtin_fabsf(d), b = __builtin_fabsf(p);
        const uint32_t px = bits_of(p), qy = bits_of(y[i]);
        add_end(&out->x, (int32_t)px, px, px & ~SIGN);
        add_end(&out->y, (int32_t)qy, qy, qy & ~SIGN);
        out->top = a > out->top ? a : out->top;
        out->mismatched += outside32(p, y[i], rtol, atol);
        out->relative |= a > (b > (float)RELATIVE_FLOOR ? b : (float)RELATIVE_FLOOR) * rel;
        const double wide = p, e = d;
        const double terms[6] = {wide, e, a, wide * wide, e * e, wide * e};
        for (int which = 0; which < 6; which++)
            out->sums[which] += terms[which];
    }
}

/* Registers that a loop over a run keeps: sums about zero, the greatest |d|, whether any relative
   difference is greater than before, and how many are within the tolerance, as minus ones. */
typedef struct {
    FLOATS x, d, a, xx, dd, xd;
    NAMED(bits32) far, over, fine;
} NAMED(running);

/* The same sums in float64. */
typedef struct {
    DOUBLES x, d, a, xx, dd, xd;
} NAMED(totals);

typedef struct {
    FLOATS rtol, atol, rel, floor;
} NAMED(given);

/* See `ends`; of whole registers. */
typedef struct {
    NAMED(bits32) most, most_raw, least_size;
} NAMED(ends32);

INLINED void NAMED(add_pairs)(
    NAMED(running) * all, const NAMED(given) * given, FLOATS p, FLOATS q) {
    const FLOATS d = q - p, a = NAMED(size_of_float)(d), b = NAMED(size_of_float)(p);
    all->x += p;
    all->d += d;
    all->a += a;
    all->xx = FUSED(p, p, all->xx);
    all->dd = FUSED(d, d, all->dd);
    all->xd = FUSED(p, d, all->xd);
    all->far = MOST_SIGNED(all->far, (NAMED(bits32))a);
    FLOATS bound = b * given->rtol;
    bound = bound + given->atol;
    all->fine = LESS_ONE(all->fine, a, bound);
    const FLOATS base = (FLOATS)MOST_SIGNED((NAMED(bits32))b, (NAMED(bits32))given->floor);
    all->over = MOST_SIGNED(all->over, (NAMED(bits32))FUSED(base, given->rel, a));
}

INLINED void NAMED(add_ends)(NAMED(ends32) * all, FLOATS x) {
    const NAMED(bits32) raw = (NAMED(bits32))x;
    all->most = MOST_SIGNED(all->most, raw);
    all->most_raw = MOST_RAW(all->most_raw, raw);
    all->least_size = LEAST_RAW(all->least_size, (NAMED(bits32))NAMED(size_of_float)(x));
}

/* Empties the sums of a run. */
INLINED void NAMED(pour)(NAMED(running) * run, NAMED(totals) * all) {
    const FLOATS none = {0};
    all->x += NAMED(poured)(run->x);
    all->d += NAMED(poured)(run->d);
    all->a += NAMED(poured)(run->a);
    all->xx += NAMED(poured)(run->xx);
    all->dd += NAMED(poured)(run->dd);
    all->xd += NAMED(poured)(run->xd);
    run->x = run->d = run->a = run->xx = run->dd = run->xd = none;
}

FUNCTION NAMED(given) NAMED(given_of)(const pass *out) {
    const FLOATS zero = {0};
    return (NAMED(given)){
        zero + float32_of(out->rtol), zero + float32_of(out->atol),
        zero - rounded_down(out->relative.value), zero + (float)RELATIVE_FLOOR};
}

FUNCTION void NAMED(finish)(
    const NAMED(totals) * sums, const NAMED(running) * run, size_t whole, gathered *out) {
    NAMED(sums_of_lanes)((const DOUBLES *)sums, out->sums, 6);
    out->mismatched += (int64_t)whole;
    for (int lane = 0; lane < LANES; lane++) {
        const float top = float_of((uint32_t)run->far[lane]);
        out->top = top > out->top ? top : out->top;
        out->relative |= run->over[lane] > 0;
        out->mismatched += run->fine[lane];
    }
}

/* Whole registers of a stretch, its first `whole` pairs. */
INLINED void NAMED(gather_whole)(
    const void *x, const void *y, size_t whole, const pass *before, gathered *out,
    const enum kind kind_x, const enum kind kind_y) {
    const NAMED(given) given = NAMED(given_of)(before);
    const NAMED(bits32) none = {0};
    NAMED(ends32) of_x = {none + NO_ENDS.most, none, none - 1}, of_y = of_x;
    NAMED(running) run = {.over = none + INT32_MIN};
    NAMED(totals) sums = {.x = {0}};
    for (size_t from = 0; from < whole; from += NAMED(RUN)) {
        const size_t end = NAMED(end_of_run)(from, whole);
        for (size_t i = from; i < end; i += LANES) {
            const FLOATS p = NAMED(lanes_of)(x, i, kind_x), q = NAMED(lanes_of)(y, i, kind_y);
            NAMED(add_pairs)(&run, &given, p, q);
            NAMED(add_ends)(&of_x, p);
            NAMED(add_ends)(&of_y, q);
        }
        NAMED(pour)(&run, &sums);
    }
    NAMED(finish)(&sums, &run, whole, out);
    for (int lane = 0; lane < LANES; lane++) {
        add_end(&out->x, of_x.most[lane], (uint32_t)of_x.most_raw[lane],
                (uint32_t)of_x.least_size[lane]);
        add_end(&out->y, of_y.most[lane], (uint32_t)of_y.most_raw[lane],
                (uint32_t)of_y.least_size[lane]);
    }
}

#define GATHER(name, kind_x, kind_y)                                                               \
    FUNCTION __attribute__((noinline)) void NAMED(gather_##name)(                                  \
        const void *x, const void *y, size_t whole, const pass *given, gathered *out) {            \
        NAMED(gather_whole)(x, y, whole, given, out, kind_x, kind_y);                              \
    }
GATHER(float, FLOAT32, FLOAT32)
GATHER(float_brain, FLOAT32, BFLOAT16)
GATHER(brain_float, BFLOAT16, FLOAT32)
#ifdef WIDEN_HALVES
GATHER(half, FLOAT16, FLOAT16)
#endif
#undef GATHER

#include "gather_brains.h"

typedef void NAMED(gather_function)(
    const void *, const void *, size_t, const pass *, gathered *);

/* What gathers of these two kinds as they lie; NULL where they must be widened first. */
FUNCTION NAMED(gather_function) *NAMED(gathering)(enum kind x, enum kind y) {
    if (x == FLOAT32 && y == FLOAT32)
        return NAMED(gather_float);
    if (x == BFLOAT16 && y == BFLOAT16)
        return NAMED(gather_brains);
    if (x == FLOAT32 && y == BFLOAT16)
        return NAMED(gather_float_brain);
    if (x == BFLOAT16 && y == FLOAT32)
        return NAMED(gather_brain_float);
#ifdef WIDEN_HALVES
    if (x == FLOAT16 && y == FLOAT16)
        return NAMED(gather_half);
#endif
    return NULL;
}

/* n pairs from `from` on; at most TILE where a kind must be widened first. */
FUNCTION gathered NAMED(gather)(
    const side_in *x, const side_in *y, size_t from, size_t n, const pass *given) {
    gathered out = {.x = NO_ENDS, .y = NO_ENDS};
    float room_x[TILE], room_y[TILE];
    const size_t whole = n - n % (2 * LANES); /* bfloat16 comes in two registers at once */
    NAMED(gather_function) *run = NAMED(gathering)(x->kind, y->kind);
    if (run) {
        run(NAMED(raw_at)(x, from), NAMED(raw_at)(y, from), whole, given, &out);
        NAMED(gather_rest)(
            NAMED(as_float32)(x, from + whole, n - whole, room_x),
            NAMED(as_float32)(y, from + whole, n - whole, room_y), n - whole, given, &out);
        return out;
    }
    const float *p = NAMED(as_float32)(x, from, n, room_x);
    const float *q = NAMED(as_float32)(y, from, n, room_y);
    NAMED(gather_float)(p, q, whole, given, &out);
    NAMED(gather_rest)(p + whole, q + whole, n - whole, given, &out);
    return out;
}

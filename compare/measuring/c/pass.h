/* What one pass over a block gathers; the meaning of every number is in sums.py and moments.py. */

#ifndef LAYERTUI_PASS_H
#define LAYERTUI_PASS_H

#include <stddef.h>
#include <stdint.h>

#include "ends.h"

/* Begun at a line of the cache: registers that are loaded across two of them take twice as long. */
#define IN_REGISTERS __attribute__((aligned(64)))

/* Raised, in kernel.py too, when what Python gives or gets changes. */
enum { INTERFACE = 4 };

enum {
    TILE = 1024,      /* elements that are widened together: both sides stay in the L1 cache */
    STRETCH = 8 * TILE /* that are gathered together, where nothing must be widened first */
};

enum kind { FLOAT32, FLOAT64, FLOAT16, BFLOAT16, BYTES };

typedef struct {
    const void *data;
    const float *table; /* the 256 numbers that BYTES stand for */
    enum kind kind;
} side_in;

/* Moments about the means, as moments.py has them. */
typedef struct {
    double n, mean_x, mean_y, mean_d, xx, yy, dd, xy, xd;
} moments;

typedef struct {
    double n, low, high, mean, squares, nan, inf, zeros;
} side_sums;

typedef struct {
    double value, x, y;
    int64_t at; /* -1: nothing greater than what was known before */
} extreme;

typedef struct {
    moments pair;
    side_sums reference, candidate;
    extreme absolute, relative;
    double sum_abs, mismatched, nonfinite_mismatch;
    int equal;
    double rtol, atol; /* given */
    int64_t start;     /* the place of the block's first pair, which places are counted from */
} pass;

/* What a loop over finite numbers saw; `top` is the greatest |d|, `relative` says that a relative
   difference may be the greatest so far. */
typedef struct {
    double low_x, high_x, low_y, high_y, top;
    int relative;
    int64_t mismatched, zeros_x, zeros_y;
} looked_at;

/* What one loop over float32 numbers, or narrower ones, gathers: besides the same, the sums about
   zero of x, d, |d|, xx, dd, xd. */
typedef struct {
    ends x, y;
    float top;
    int relative;
    int64_t mismatched;
    double sums[6];
} gathered;

/* 0: taken in. 1: a job for numpy, since squares would leave the range of float64. */
typedef int block_function(const side_in *, const side_in *, size_t, pass *);

/* Rows of logits, so many numbers each: KL, agreement and margin, one after the other. */
typedef void divergence_function(const side_in *, const side_in *, size_t, size_t, double *);

/* So many elements as float64, or as float32. */
typedef void widen_function(const side_in *, size_t, void *);

/* So many numbers, as their bits, rounded to so many stored bits of mantissa. */
typedef void round64_function(const uint64_t *, size_t, int, uint64_t *);
typedef void round32_function(const uint32_t *, size_t, int, uint32_t *);

#endif

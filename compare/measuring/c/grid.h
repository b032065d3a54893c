/* On which grid numbers lie, and how many different ones there are. */

#ifndef LAYERTUI_GRID_H
#define LAYERTUI_GRID_H

#include <stdint.h>
#include <string.h>

#include "ends.h"

enum {
    MANTISSA32 = 24,   /* bits of a float32's mantissa, the first one included */
    MANTISSA64 = 52,   /* bits of a float64's that are stored */
    SLOT_BITS = 15,    /* of a place in the largest table of different numbers */
    LEAST_SLOT_BITS = 6,
    COARSE = 7,             /* stored bits of a bfloat16's mantissa */
    COARSE_PLACES = 1 << 14, /* from a number to one 2^128 times as large */
    NARROW_LOST = 16,        /* bits of a float32 that bfloat16 has not */
    NARROW_PLACES = 1 << 15, /* magnitudes of bfloat16 */
    KNOWN_GRIDS = 7
};

static const int GRIDS[KNOWN_GRIDS] = {1, 2, 3, 4, 7, 10, 12}; /* of fp4, e5m2, e4m3, ..., float16 */
static const double ON_GRID = 0.995; /* mantissa.py says what is counted */

typedef struct {
    int64_t used;               /* numbers that are finite and not zero */
    int64_t narrow;             /* of them, those that float32 holds exactly */
    int64_t ends_at[MANTISSA32]; /* how many have their last bit at this place of float32's */
} grid;

static void find_grid(const double *values, size_t n, grid *out) {
    for (size_t i = 0; i < n; i++) {
        if (values[i] == 0 || values[i] - values[i] != 0)
            continue;
        const float narrow = (float)values[i];
        const uint32_t bits = bits_of(narrow) | 1u << (MANTISSA32 - 1);
        out->used++;
        out->narrow += narrow == values[i];
        out->ends_at[__builtin_ctz(bits)]++;
    }
}

/* Mantissa bits that (nearly) all numbers can do with. */
static int bits_needed(const double *values, size_t n) {
    grid found = {0};
    find_grid(values, n, &found);
    if (found.used == 0)
        return MANTISSA32 - 1;
    if ((double)found.narrow < ON_GRID * (double)found.used)
        return MANTISSA64;
    const int64_t rank = (int64_t)((1 - ON_GRID) * (double)found.used);
    int64_t below = 0;
    int needed = MANTISSA32 - 1;
    for (int place = 0; place < MANTISSA32; place++) { /* the finest first */
        below += found.ends_at[place];
        needed = MANTISSA32 - 1 - place;
        if (below > rank)
            break;
    }
    for (int i = 0; below > rank && i < KNOWN_GRIDS; i++)
        if (needed <= GRIDS[i])
            return GRIDS[i];
    return MANTISSA32 - 1;
}

/* What is seen of numbers that float32 holds: how many are not zero, how many of them need more
   than each of `GRIDS`, and different magnitudes, -1 where bfloat16 does not hold all. */
typedef struct {
    int64_t used, beyond[KNOWN_GRIDS], coarse;
} some_seen;

/* Puts every step-th of numbers, n in all, into `some`. */
typedef void look_function(
    const float *values, size_t n, size_t step, float *some, some_seen *seen);

/* The same as `bits_needed` of these. */
static int bits_of_seen(const some_seen *seen) {
    const int64_t rank = (int64_t)((1 - ON_GRID) * (double)seen->used);
    for (int i = 0; seen->used && i < KNOWN_GRIDS; i++)
        if (seen->beyond[i] <= rank)
            return GRIDS[i];
    return MANTISSA32 - 1;
}

/* To so many stored bits of mantissa, to nearest, ties to even; not for denormals of float64. */
static inline uint64_t rounded_to(uint64_t bits, int kept) {
    const int lost = MANTISSA64 - kept;
    if (lost <= 0)
        return bits;
    const uint64_t half = (uint64_t)1 << (lost - 1);
    return (bits + half - 1 + (bits >> lost & 1)) >> lost << lost;
}

/* For n numbers: twice as many places at least. */
static int slot_bits_for(size_t n) {
    int bits = LEAST_SLOT_BITS;
    while (bits < SLOT_BITS && ((size_t)1 << bits) < 2 * n)
        bits++;
    return bits;
}

/* How many different magnitudes there are, where all numbers have so few bits that each may have a
   place of its own, `seen`, which is COARSE_PLACES long; -1 where they have not. */
static int64_t count_coarse(const double *values, size_t n, uint8_t *seen) {
    const int lost = MANTISSA64 - COARSE;
    const uint64_t sign = (uint64_t)1 << 63, half = (uint64_t)1 << 62;
    uint64_t all = 0, least = half, most = 0;
    int64_t found = 0;
    int zeros = 0;
    for (size_t i = 0; i < n; i++) {
        uint64_t bits;
        memcpy(&bits, &values[i], sizeof bits);
        bits &= ~sign;
        const uint64_t own = bits ? bits : half;
        all |= bits;
        zeros |= !bits;
        least = own < least ? own : least;
        most = bits > most ? bits : most;
    }
    if (all << (64 - lost))
        return -1;
    if (!most)
        return zeros;
    const uint64_t first = least >> lost, places = (most >> lost) - first + 1;
    if (places > COARSE_PLACES)
        return -1;
    memset(seen, 0, places);
    for (size_t i = 0; i < n; i++) {
        uint64_t bits;
        memcpy(&bits, &values[i], sizeof bits);
        bits &= ~sign;
        if (bits)
            seen[(bits >> lost) - first] = 1;
    }
    for (uint64_t i = 0; i < places; i++)
        found += seen[i];
    return found + zeros;
}

/* How many different magnitudes there are when rounded; `table` has 2^bits places that are zero,
   and there are at most half as many numbers. */
static size_t count_distinct(
    const double *values, size_t n, int kept, uint64_t *table, int bits_of_place) {
    const size_t mask = ((size_t)1 << bits_of_place) - 1;
    size_t found = 0;
    for (size_t i = 0; i < n; i++) {
        uint64_t bits;
        memcpy(&bits, &values[i], sizeof bits);
        bits = rounded_to(bits & ~((uint64_t)1 << 63), kept) + 1; /* 0 is an empty place */
        size_t at = (bits * 0x9e3779b97f4a7c15u) >> (64 - bits_of_place);
        while (table[at] && table[at] != bits)
            at = (at + 1) & mask;
        found += !table[at];
        table[at] = bits;
    }
    return found;
}

/* The same of as many as a table may have, `2^slot_bits_for(n)` long, whatever it holds. */
static int64_t different(const double *values, size_t n, int kept, uint64_t *table) {
    uint8_t seen[COARSE_PLACES];
    const int bits = slot_bits_for(n);
    const int64_t found = kept >= COARSE ? count_coarse(values, n, seen) : -1;
    if (found >= 0) /* rounding would change nothing */
        return found;
    memset(table, 0, sizeof *table << bits);
    return (int64_t)count_distinct(values, n, kept, table, bits);
}

#endif

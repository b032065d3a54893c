/* Extremes of float32 numbers found among their bits, which takes fewer steps than comparing the
   numbers and leaves the units that multiply alone.

   Bits of positive numbers are in the order of these, as are sizes: bits without the sign. The
   greatest as a signed number is the greatest positive; the greatest as an unsigned one the
   farthest negative. NaN and Inf have the greatest sizes of all. */

#ifndef LAYERTUI_ENDS_H
#define LAYERTUI_ENDS_H

#include <stdint.h>

#define SIGN 0x80000000u
#define INFINITE 0x7f800000u

typedef struct {
    int32_t most;         /* the greatest as a signed number */
    uint32_t most_raw;    /* the greatest as an unsigned one */
    uint32_t least_size;
} ends;

static const ends NO_ENDS = {INT32_MIN, 0, UINT32_MAX};

static inline float float_of(uint32_t bits) {
    float value;
    __builtin_memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint32_t bits_of(float value) {
    uint32_t bits;
    __builtin_memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline void add_end(ends *all, int32_t most, uint32_t most_raw, uint32_t least_size) {
    all->most = most > all->most ? most : all->most;
    all->most_raw = most_raw > all->most_raw ? most_raw : all->most_raw;
    all->least_size = least_size < all->least_size ? least_size : all->least_size;
}

static inline float highest(const ends *e) {
    return e->most >= 0 ? float_of((uint32_t)e->most) : -float_of(e->least_size);
}

static inline float lowest(const ends *e) {
    return float_of(e->most_raw & SIGN ? e->most_raw : e->least_size);
}

static inline int all_finite(const ends *e) {
    return e->most < (int32_t)INFINITE && e->most_raw < (SIGN | INFINITE);
}

#endif

/* Every step-th number of a sample of float32, and what is seen of these on the way; grid.h says
   what it is for. Included once for every instruction set. */

/* How many need more than each of the known numbers of bits, and how many are not zero; all are
   finite. */
FUNCTION void NAMED(count_bits)(const uint32_t *restrict raw, size_t n, some_seen *seen) {
    uint32_t used = 0, beyond[KNOWN_GRIDS] = {0};
    for (size_t i = 0; i < n; i++)
        used += (raw[i] & ~SIGN) != 0;
    for (int which = 0; which < KNOWN_GRIDS; which++) {
        const uint32_t finer = (1u << (MANTISSA32 - 1 - GRIDS[which])) - 1;
        uint32_t count = 0;
        for (size_t i = 0; i < n; i++)
            count += (raw[i] & finer) != 0;
        beyond[which] = count;
    }
    seen->used = used;
    for (int which = 0; which < KNOWN_GRIDS; which++)
        seen->beyond[which] = beyond[which];
}

/* The different magnitudes of numbers of so few bits that each has a place. */
FUNCTION int64_t NAMED(count_places)(const uint8_t *places) {
    uint32_t found = 0;
    for (size_t i = 0; i < NARROW_PLACES; i++)
        found += places[i];
    return found;
}

static TARGET void NAMED(look_at)(
    const float *values, size_t n, size_t step, float *some, some_seen *seen) {
    uint8_t places[NARROW_PLACES] IN_REGISTERS;
    const uint32_t *from = (const uint32_t *)values;
    uint32_t *to = (uint32_t *)some, all = 0;
    memset(places, 0, sizeof places);
    for (size_t i = 0; i < n; i++) {
        const uint32_t raw = from[i * step];
        to[i] = raw;
        all |= raw;
        places[(raw & ~SIGN) >> NARROW_LOST] = 1;
    }
    NAMED(count_bits)(to, n, seen);
    seen->coarse = all << (32 - NARROW_LOST) ? -1 : NAMED(count_places)(places);
}

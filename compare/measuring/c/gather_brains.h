/* The same of two sides in bfloat16: twice as many numbers in a register until they are widened.
   That is done without moving any: first those in the upper halves of 32 bits, then the others; so
   the tail must be whole pairs of registers. Included once for every instruction set. */

typedef struct {
    NAMED(pairs16) most, most_raw, least_size;
} NAMED(ends16);

INLINED void NAMED(add_ends16)(NAMED(ends16) * all, NAMED(pairs16) raw) {
    const NAMED(pairs16) size = raw & 0x7fff;
    all->most = MOST_SIGNED16(all->most, raw);
    all->most_raw = MOST_RAW16(all->most_raw, raw);
    all->least_size = LEAST_RAW16(all->least_size, size);
}

FUNCTION void NAMED(finish_ends16)(const NAMED(ends16) * found, ends *all) {
    for (int lane = 0; lane < 2 * LANES; lane++)
        add_end(
            all, found->most[lane] * (1 << 16), (uint32_t)(uint16_t)found->most_raw[lane] << 16,
            (uint32_t)(uint16_t)found->least_size[lane] << 16);
}

FUNCTION __attribute__((noinline)) void NAMED(gather_brains)(
    const void *x, const void *y, size_t whole, const pass *before, gathered *out) {
    const uint16_t *left = x, *right = y;
    const NAMED(given) given = NAMED(given_of)(before);
    const NAMED(bits32) none = {0};
    const NAMED(raw32) upper = (NAMED(raw32))none + 0xffff0000u;
    const NAMED(pairs16) no_pairs = {0};
    NAMED(ends16) of_x = {no_pairs + INT16_MIN, no_pairs, no_pairs - 1}, of_y = of_x;
    NAMED(running) run = {.over = none + INT32_MIN};
    NAMED(totals) sums = {.x = {0}};
    for (size_t from = 0; from < whole; from += 2 * NAMED(RUN)) {
        const size_t end = whole - from < 2 * NAMED(RUN) ? whole : from + 2 * NAMED(RUN);
        for (size_t i = from; i < end; i += 2 * LANES) {
            NAMED(raw32) p, q;
            __builtin_memcpy(&p, left + i, sizeof p);
            __builtin_memcpy(&q, right + i, sizeof q);
            NAMED(add_ends16)(&of_x, (NAMED(pairs16))p);
            NAMED(add_ends16)(&of_y, (NAMED(pairs16))q);
            NAMED(add_pairs)(&run, &given, (FLOATS)(p & upper), (FLOATS)(q & upper));
            NAMED(add_pairs)(&run, &given, (FLOATS)(p << 16), (FLOATS)(q << 16));
        }
        NAMED(pour)(&run, &sums);
    }
    NAMED(finish)(&sums, &run, whole, out);
    NAMED(finish_ends16)(&of_x, &out->x);
    NAMED(finish_ends16)(&of_y, &out->y);
}

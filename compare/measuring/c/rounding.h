/* Numbers rounded to nearest, ties to even, to so many stored bits of mantissa; the range of their
   exponents stays. Included once for every instruction set. */

#define ROUND(name, bits_type, mantissa, exponent)                                                 \
    static TARGET void NAMED(name)(                                                                \
        const bits_type *restrict from, size_t n, int kept, bits_type *restrict to) {              \
        const int lost = (mantissa) - kept;                                                        \
        const bits_type half = ((bits_type)1 << (lost - 1)) - 1, one = 1;                          \
        for (size_t i = 0; i < n; i++) {                                                           \
            const bits_type raw = from[i], rounded = (raw + half + (raw >> lost & one)) >> lost << lost; \
            to[i] = (raw & (exponent)) == (exponent) ? raw : rounded;                              \
        }                                                                                          \
    }
ROUND(round64, uint64_t, 52, (uint64_t)0x7ff << 52)
ROUND(round32, uint32_t, 23, (uint32_t)0xff << 23)
#undef ROUND

/* Registers of the type `REAL`, and the greatest differences of a tile of finite numbers; included
   once for every instruction set and type. */

FUNCTION inline REALS OF_TYPE(load)(const REAL *from) {
    REALS found;
    __builtin_memcpy(&found, from, sizeof found);
    return found;
}

FUNCTION inline REALS OF_TYPE(size_of)(REALS x) {
    return (REALS)((BITS)x & ALL_BUT_SIGN);
}

enum { OF_TYPE(PATCH) = 4 * sizeof(REALS) / sizeof(REAL) }; /* pairs that are passed over together */

/* Whether any of a patch of pairs differs by at least `absolute`, or by more than `relative` of x. */
FUNCTION inline int OF_TYPE(any_greater)(
    const REAL *x, const REAL *y, REAL absolute, REAL relative) {
    const REALS none = {0}, least = none + (REAL)RELATIVE_FLOOR;
    BITS hits = {0};
    for (size_t i = 0; i < OF_TYPE(PATCH); i += sizeof(REALS) / sizeof(REAL)) {
        const REALS p = OF_TYPE(load)(x + i), a = OF_TYPE(size_of)(OF_TYPE(load)(y + i) - p);
        REALS b = OF_TYPE(size_of)(p);
        b = CHOSEN(BITS, b, least, b > least);
        hits |= (a >= none + absolute) | (a > b * (none + relative));
    }
    int found = 0;
    for (size_t lane = 0; lane < sizeof(REALS) / sizeof(REAL); lane++)
        found |= hits[lane] != 0;
    return found;
}

FUNCTION inline void OF_TYPE(offer_absolute)(REAL x, REAL y, size_t at, pass *out) {
    const double d = (double)y - x, a = d < 0 ? -d : d;
    if (a > out->absolute.value)
        out->absolute = (extreme){a, x, y, out->start + (int64_t)at};
}

FUNCTION inline void OF_TYPE(offer_relative)(REAL x, REAL y, size_t at, pass *out) {
    REAL a = y - x, b = x < 0 ? -x : x;
    a = a < 0 ? -a : a;
    b = b > (REAL)RELATIVE_FLOOR ? b : (REAL)RELATIVE_FLOOR;
    if (!(a > b * ROUNDED_DOWN(out->relative.value)))
        return;
    const double d = (double)y - x, base = x < 0 ? -(double)x : x;
    const double value = (d < 0 ? -d : d) / (base > RELATIVE_FLOOR ? base : RELATIVE_FLOOR);
    if (value > out->relative.value)
        out->relative = (extreme){value, x, y, out->start + (int64_t)at};
}

/* The first greatest differences, exactly, where a look has seen that there may be greater ones
   than before. */
FUNCTION void OF_TYPE(greatest)(
    const REAL *x, const REAL *y, size_t n, size_t from, const looked_at *seen, pass *out) {
    const int absolute = seen->top > ROUNDED_DOWN(out->absolute.value), relative = seen->relative;
    for (size_t at = 0; at < n; at += OF_TYPE(PATCH)) {
        const size_t end = n - at < OF_TYPE(PATCH) ? n : at + OF_TYPE(PATCH);
        if (end - at == OF_TYPE(PATCH) &&
            !OF_TYPE(any_greater)(
                x + at, y + at, absolute ? ROUNDED_DOWN(out->absolute.value) : (REAL)INFINITY,
                relative ? ROUNDED_DOWN(out->relative.value) : (REAL)INFINITY))
            continue;
        for (size_t i = at; i < end; i++) {
            if (absolute)
                OF_TYPE(offer_absolute)(x[i], y[i], from + i, out);
            if (relative)
                OF_TYPE(offer_relative)(x[i], y[i], from + i, out);
        }
    }
}

#undef REAL
#undef REALS
#undef BITS
#undef OF_TYPE
#undef ALL_BUT_SIGN
#undef ROUNDED_DOWN

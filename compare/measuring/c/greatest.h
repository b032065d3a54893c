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

/* The first greatest differences, exactly, where a look has seen that there may be greater ones
   than before. */
FUNCTION void OF_TYPE(greatest)(
    const REAL *x, const REAL *y, size_t n, size_t from, const looked_at *seen, pass *out) {
    if (seen->top > ROUNDED_DOWN(out->absolute.value))
        for (size_t i = 0; i < n; i++) {
            double d = (double)y[i] - x[i], a = d < 0 ? -d : d;
            if (a > out->absolute.value)
                out->absolute = (extreme){a, x[i], y[i], out->start + (int64_t)(from + i)};
        }
    if (!seen->relative)
        return;
    REAL known = ROUNDED_DOWN(out->relative.value);
    for (size_t i = 0; i < n; i++) {
        REAL a = y[i] - x[i], b = x[i] < 0 ? -x[i] : x[i];
        a = a < 0 ? -a : a;
        b = b > (REAL)RELATIVE_FLOOR ? b : (REAL)RELATIVE_FLOOR;
        if (!(a > b * known))
            continue;
        double d = (double)y[i] - x[i], base = x[i] < 0 ? -(double)x[i] : x[i];
        double value = (d < 0 ? -d : d) / (base > RELATIVE_FLOOR ? base : RELATIVE_FLOOR);
        if (value > out->relative.value) {
            out->relative = (extreme){value, x[i], y[i], out->start + (int64_t)(from + i)};
            known = ROUNDED_DOWN(value);
        }
    }
}

#undef REAL
#undef REALS
#undef BITS
#undef OF_TYPE
#undef ALL_BUT_SIGN
#undef ROUNDED_DOWN

/* Extremes and counts of a tile of finite numbers, in the type `REAL`; included once for every
   instruction set and type. */

typedef struct {
    REAL low_x, high_x, low_y, high_y, top; /* top: the greatest |d| */
    int relative;                           /* whether a relative difference may be the greatest */
    int64_t mismatched, zeros_x, zeros_y;
} OF_TYPE(looked_at);

FUNCTION inline REALS OF_TYPE(load)(const REAL *from) {
    REALS found;
    __builtin_memcpy(&found, from, sizeof found);
    return found;
}

FUNCTION inline REALS OF_TYPE(size_of)(REALS x) {
    return (REALS)((BITS)x & ALL_BUT_SIGN);
}

FUNCTION inline void OF_TYPE(look_at_one)(
    REAL p, REAL q, REAL rtol, REAL atol, REAL rel, OF_TYPE(looked_at) * seen) {
    const REAL floor = (REAL)RELATIVE_FLOOR;
    REAL a = q - p, b = p < 0 ? -p : p;
    a = a < 0 ? -a : a;
    REAL bound = b * rtol;
    bound = bound + atol;
    seen->low_x = p < seen->low_x ? p : seen->low_x;
    seen->high_x = p > seen->high_x ? p : seen->high_x;
    seen->low_y = q < seen->low_y ? q : seen->low_y;
    seen->high_y = q > seen->high_y ? q : seen->high_y;
    seen->top = a > seen->top ? a : seen->top;
    seen->mismatched += !(a <= bound); /* not ">": a tolerance that is NaN must not pass */
    seen->relative |= a > (b > floor ? b : floor) * rel;
    seen->zeros_x += p == 0;
    seen->zeros_y += q == 0;
}

/* `rel` is the greatest relative difference so far, rounded down. */
FUNCTION OF_TYPE(looked_at) OF_TYPE(look)(
    const REAL *x, const REAL *y, size_t n, REAL rtol, REAL atol, REAL rel) {
    OF_TYPE(looked_at) seen = {x[0], x[0], y[0], y[0], 0, 0, 0, 0, 0};
    const size_t whole = n - n % WIDTH;
    for (size_t i = whole; i < n; i++)
        OF_TYPE(look_at_one)(x[i], y[i], rtol, atol, rel, &seen);
    if (!whole)
        return seen;
    REALS lx = OF_TYPE(load)(x), hx = lx, ly = OF_TYPE(load)(y), hy = ly, far = {0};
    const REALS zero = {0}, floor = zero + (REAL)RELATIVE_FLOOR;
    BITS hits = {0}, fine = {0}, zx = {0}, zy = {0};
    for (size_t i = 0; i < whole; i += WIDTH) {
        REALS p = OF_TYPE(load)(x + i), q = OF_TYPE(load)(y + i);
        REALS a = OF_TYPE(size_of)(q - p), b = OF_TYPE(size_of)(p);
        REALS bound = b * rtol;
        bound = bound + atol;
        lx = LEAST(p, lx);
        hx = MOST(p, hx);
        ly = LEAST(q, ly);
        hy = MOST(q, hy);
        far = MOST(a, far);
        fine += a <= bound;
        hits |= a > MOST(b, floor) * rel;
        zx += p == zero;
        zy += q == zero;
    }
    seen.mismatched += (int64_t)whole;
    for (size_t lane = 0; lane < WIDTH; lane++) {
        seen.low_x = lx[lane] < seen.low_x ? lx[lane] : seen.low_x;
        seen.high_x = hx[lane] > seen.high_x ? hx[lane] : seen.high_x;
        seen.low_y = ly[lane] < seen.low_y ? ly[lane] : seen.low_y;
        seen.high_y = hy[lane] > seen.high_y ? hy[lane] : seen.high_y;
        seen.top = far[lane] > seen.top ? far[lane] : seen.top;
        seen.relative |= hits[lane] != 0;
        seen.mismatched += fine[lane]; /* a lane that is true is -1 */
        seen.zeros_x -= zx[lane];
        seen.zeros_y -= zy[lane];
    }
    return seen;
}

/* The first greatest differences, exactly, where a look has seen that there may be greater ones
   than before. */
FUNCTION void OF_TYPE(greatest)(
    const REAL *x, const REAL *y, size_t n, size_t from, const OF_TYPE(looked_at) * seen,
    pass *out) {
    if (seen->top > ROUNDED_DOWN(out->absolute.value))
        for (size_t i = 0; i < n; i++) {
            double d = (double)y[i] - x[i], a = d < 0 ? -d : d;
            if (a > out->absolute.value)
                out->absolute = (extreme){a, x[i], y[i], (int64_t)(from + i)};
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
            out->relative = (extreme){value, x[i], y[i], (int64_t)(from + i)};
            known = ROUNDED_DOWN(value);
        }
    }
}

#undef REAL
#undef REALS
#undef BITS
#undef WIDTH
#undef OF_TYPE
#undef ALL_BUT_SIGN
#undef LEAST
#undef MOST
#undef ROUNDED_DOWN

/* Extremes and counts of a tile of finite float64 numbers; included once for every instruction
   set. */

#define LESS(a, b) CHOSEN(NAMED(bits64), a, b, (a) < (b))
#define MORE(a, b) CHOSEN(NAMED(bits64), a, b, (a) > (b))

FUNCTION inline void NAMED(look_at_one)(
    double p, double q, double rtol, double atol, double rel, looked_at *seen) {
    const double floor = RELATIVE_FLOOR;
    double a = q - p, b = p < 0 ? -p : p;
    a = a < 0 ? -a : a;
    double bound = b * rtol;
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
FUNCTION looked_at NAMED(look)(
    const double *x, const double *y, size_t n, double rtol, double atol, double rel) {
    looked_at seen = {x[0], x[0], y[0], y[0], 0, 0, 0, 0, 0};
    const size_t whole = n - n % (LANES / 2);
    for (size_t i = whole; i < n; i++)
        NAMED(look_at_one)(x[i], y[i], rtol, atol, rel, &seen);
    if (!whole)
        return seen;
    DOUBLES lx = NAMED(load_double)(x), hx = lx, ly = NAMED(load_double)(y), hy = ly, far = {0};
    const DOUBLES zero = {0}, floor = zero + RELATIVE_FLOOR;
    NAMED(bits64) hits = {0}, fine = {0}, zx = {0}, zy = {0};
    for (size_t i = 0; i < whole; i += LANES / 2) {
        DOUBLES p = NAMED(load_double)(x + i), q = NAMED(load_double)(y + i);
        DOUBLES a = NAMED(size_of_double)(q - p), b = NAMED(size_of_double)(p);
        DOUBLES bound = b * rtol;
        bound = bound + atol;
        lx = LESS(p, lx);
        hx = MORE(p, hx);
        ly = LESS(q, ly);
        hy = MORE(q, hy);
        far = MORE(a, far);
        fine += a <= bound;
        hits |= a > MORE(b, floor) * rel;
        zx += p == zero;
        zy += q == zero;
    }
    seen.mismatched += (int64_t)whole;
    for (int lane = 0; lane < LANES / 2; lane++) {
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

#undef LESS
#undef MORE

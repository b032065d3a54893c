/* Moments of finite numbers, in lanes of float32 or float64; included once for every instruction
   set. */

enum { NAMED(RUN) = 16 * LANES }; /* float32 lanes are emptied into float64 after 16 sums */

/* The float32 lanes of both halves of a register, added in float64. */
FUNCTION inline DOUBLES NAMED(poured)(FLOATS lanes) {
#ifdef WIDEN_LOW
    return (DOUBLES)WIDEN_LOW(lanes) + (DOUBLES)WIDEN_HIGH(lanes);
#else
    NAMED(half_floats) halves[2];
    __builtin_memcpy(halves, &lanes, sizeof halves);
    return __builtin_convertvector(halves[0], DOUBLES) +
           __builtin_convertvector(halves[1], DOUBLES);
#endif
}

FUNCTION inline void NAMED(sums_of_lanes)(const DOUBLES *total, double *sums, int count) {
    for (int which = 0; which < count; which++) {
        sums[which] = 0;
        for (int lane = 0; lane < LANES / 2; lane++)
            sums[which] += total[which][lane];
    }
}

/* The end of a run that begins at `from`. */
FUNCTION inline size_t NAMED(end_of_run)(size_t from, size_t whole) {
    return whole - from < NAMED(RUN) ? whole : from + NAMED(RUN);
}

/* Sums about zero of float32 numbers: y, yy, xy, added to what `sums` has. */
FUNCTION void NAMED(add_sums_of_y)(const float *x, const float *y, size_t n, double *sums) {
    DOUBLES total[3] = {{0}};
    double found[3];
    const size_t whole = n - n % LANES;
    for (size_t from = 0; from < whole; from += NAMED(RUN)) {
        const size_t end = NAMED(end_of_run)(from, whole);
        FLOATS y1 = {0}, yy = y1, xy = y1;
        for (size_t i = from; i < end; i += LANES) {
            FLOATS q = NAMED(load_float)(y + i);
            y1 += q;
            yy += q * q;
            xy += NAMED(load_float)(x + i) * q;
        }
        total[0] += NAMED(poured)(y1);
        total[1] += NAMED(poured)(yy);
        total[2] += NAMED(poured)(xy);
    }
    NAMED(sums_of_lanes)(total, found, 3);
    for (int which = 0; which < 3; which++)
        sums[which] += found[which];
    for (size_t i = whole; i < n; i++) {
        double q = y[i];
        sums[0] += q;
        sums[1] += q * q;
        sums[2] += x[i] * q;
    }
}

/* The moments from sums about zero; 0 where these keep too few digits. */
FUNCTION int NAMED(moments32)(
    const side_in *x, const side_in *y, size_t from, size_t n, const double *s, moments *m) {
    float room_x[TILE], room_y[TILE];
    double of_y[3] = {0};
    double mean_x = s[0] / n, mean_d = s[1] / n;
    double xx = s[3] - mean_x * s[0], dd = s[4] - mean_d * s[1], xd = s[5] - mean_x * s[1];
    if (!keeps_digits(s[3], xx) || !keeps_digits(s[4], dd) || dd * xx - xd * xd < ALIKE * dd * xx)
        return 0;
    *m = (moments){n, mean_x, mean_x + mean_d, mean_d, xx, xx + 2 * xd + dd, dd, xx + xd, xd};
    if (dd <= FAR_APART * xx)
        return 1;
    for (size_t at = 0; at < n; at += TILE) { /* those of x and d would cancel to noise */
        const size_t some = n - at < TILE ? n - at : TILE;
        NAMED(add_sums_of_y)(
            NAMED(as_float32)(x, from + at, some, room_x),
            NAMED(as_float32)(y, from + at, some, room_y), some, of_y);
    }
    m->mean_y = of_y[0] / n;
    m->yy = of_y[1] - m->mean_y * of_y[0];
    m->xy = of_y[2] - mean_x * of_y[0];
    return keeps_digits(of_y[1], m->yy);
}

/* The moments in float64, about the first pair: a constant has no variance at all then, and a large
   mean does not eat a small one. Of what is not finite they are NaN. */
FUNCTION moments NAMED(moments64)(const double *x, const double *y, size_t n, double *sum_abs) {
    const double first_x = x[0], first_y = y[0], first_d = y[0] - x[0];
    enum { STEP = LANES / 2 };
    size_t whole = n - n % STEP;
    DOUBLES x1 = {0}, y1 = x1, d1 = x1, a1 = x1, xx = x1, yy = x1, dd = x1, xy = x1, xd = x1;
    for (size_t i = 0; i < whole; i += STEP) {
        DOUBLES p = NAMED(load_double)(x + i), q = NAMED(load_double)(y + i), d = q - p;
        a1 += NAMED(size_of_double)(d);
        p -= first_x;
        q -= first_y;
        d -= first_d;
        x1 += p;
        y1 += q;
        d1 += d;
        xx += p * p;
        yy += q * q;
        dd += d * d;
        xy += p * q;
        xd += p * d;
    }
    DOUBLES lanes[9] = {x1, y1, d1, xx, yy, dd, xy, xd, a1};
    double s[9];
    for (int which = 0; which < 9; which++) {
        s[which] = 0;
        for (int lane = 0; lane < STEP; lane++)
            s[which] += lanes[which][lane];
    }
    for (size_t i = whole; i < n; i++) {
        double d = y[i] - x[i], p = x[i] - first_x, q = y[i] - first_y, e = d - first_d;
        const double terms[9] = {p, q, e, p * p, q * q, e * e, p * q, p * e, d < 0 ? -d : d};
        for (int which = 0; which < 9; which++)
            s[which] += terms[which];
    }
    *sum_abs = s[8];
    double mx = s[0] / n, my = s[1] / n, md = s[2] / n;
    return (moments){
        n, first_x + mx, first_y + my, first_d + md, at_least_zero(s[3] - mx * s[0]),
        at_least_zero(s[4] - my * s[1]), at_least_zero(s[5] - md * s[2]), s[6] - mx * s[1],
        s[7] - mx * s[2]};
}

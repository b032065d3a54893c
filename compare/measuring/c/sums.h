/* Moments of a tile of finite numbers, in lanes of float32 or float64; included once for every
   instruction set. */

enum { NAMED(RUN) = 16 * LANES }; /* float32 lanes are emptied into float64 after 16 sums */

FUNCTION inline DOUBLES NAMED(half_of)(const FLOATS *lanes, int half) {
    NAMED(half_floats) found;
    __builtin_memcpy(&found, (const char *)lanes + half * sizeof found, sizeof found);
    return __builtin_convertvector(found, DOUBLES);
}

/* Empties float32 lanes into float64. */
FUNCTION inline void NAMED(pour)(const FLOATS *lanes, DOUBLES *total, int count) {
    for (int which = 0; which < count; which++)
        total[which] += NAMED(half_of)(&lanes[which], 0) + NAMED(half_of)(&lanes[which], 1);
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

/* Sums about zero: x, d, |d|, xx, dd, xd. */
FUNCTION void NAMED(sums_of_x_and_d)(const float *x, const float *y, size_t n, double *sums) {
    DOUBLES total[6] = {{0}};
    const size_t whole = n - n % LANES;
    for (size_t from = 0; from < whole; from += NAMED(RUN)) {
        const size_t end = NAMED(end_of_run)(from, whole);
        FLOATS x1 = {0}, d1 = x1, a1 = x1, xx = x1, dd = x1, xd = x1;
        for (size_t i = from; i < end; i += LANES) {
            FLOATS p = NAMED(load_float)(x + i), d = NAMED(load_float)(y + i) - p;
            x1 += p;
            d1 += d;
            a1 += NAMED(size_of_float)(d);
            xx += p * p;
            dd += d * d;
            xd += p * d;
        }
        NAMED(pour)((FLOATS[]){x1, d1, a1, xx, dd, xd}, total, 6);
    }
    NAMED(sums_of_lanes)(total, sums, 6);
    for (size_t i = whole; i < n; i++) {
        double p = x[i], d = y[i] - p;
        sums[0] += p;
        sums[1] += d;
        sums[2] += d < 0 ? -d : d;
        sums[3] += p * p;
        sums[4] += d * d;
        sums[5] += p * d;
    }
}

/* Sums about zero: y, yy, xy. */
FUNCTION void NAMED(sums_of_y)(const float *x, const float *y, size_t n, double *sums) {
    DOUBLES total[3] = {{0}};
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
        NAMED(pour)((FLOATS[]){y1, yy, xy}, total, 3);
    }
    NAMED(sums_of_lanes)(total, sums, 3);
    for (size_t i = whole; i < n; i++) {
        double q = y[i];
        sums[0] += q;
        sums[1] += q * q;
        sums[2] += x[i] * q;
    }
}

/* The moments in float32 lanes; 0 where these keep too few digits, or a number is NaN. */
FUNCTION int NAMED(moments32)(
    const float *x, const float *y, size_t n, moments *m, double *sum_abs) {
    double s[6], of_y[3];
    NAMED(sums_of_x_and_d)(x, y, n, s);
    double mean_x = s[0] / n, mean_d = s[1] / n;
    double xx = s[3] - mean_x * s[0], dd = s[4] - mean_d * s[1], xd = s[5] - mean_x * s[1];
    *sum_abs = s[2];
    if (!keeps_digits(s[3], xx) || !keeps_digits(s[4], dd) || dd * xx - xd * xd < ALIKE * dd * xx)
        return 0;
    *m = (moments){n, mean_x, mean_x + mean_d, mean_d, xx, xx + 2 * xd + dd, dd, xx + xd, xd};
    if (dd <= FAR_APART * xx)
        return 1;
    NAMED(sums_of_y)(x, y, n, of_y); /* those of x and d would cancel to noise */
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

/* What the sums of an evened sample tell of its rows, channels and groups: see fits.py, which has the
   same in numpy's arithmetic. Included once for every instruction set. */

enum { NAMED(BATCH) = 16 }; /* ratios up to 1e12 whose product float64 can hold */

FUNCTION double NAMED(total_of)(const double *values, size_t n) {
    const size_t whole = n - n % (LANES / 2);
    DOUBLES lanes = {0};
    for (size_t i = 0; i < whole; i += LANES / 2)
        lanes += NAMED(load_double)(values + i);
    double sum = NAMED(sum_of)(lanes);
    for (size_t i = whole; i < n; i++)
        sum += values[i];
    return sum;
}

/* The place of the greatest, none of which is negative or NaN; of those that only rounding of sums
   tells apart the first, so that all instruction sets say the same. */
FUNCTION size_t NAMED(greatest_at)(const double *values, size_t n) {
    const size_t whole = n - n % (LANES / 2);
    DOUBLES lanes = (DOUBLES){0} + values[0];
    for (size_t i = 0; i < whole; i += LANES / 2)
        lanes = NAMED(greater)(NAMED(load_double)(values + i), lanes);
    double most = values[0];
    for (int lane = 0; lane < LANES / 2; lane++)
        most = LARGER(most, lanes[lane]);
    for (size_t i = whole; i < n; i++)
        most = LARGER(most, values[i]);
    const double enough = most * (1 - ALIKE_ENOUGH);
    const DOUBLES below = (DOUBLES){0} + __builtin_nextafter(enough, -1);
    size_t at = 0;
    while (at < whole && !ANY_MORE(NAMED(load_double)(values + at), below))
        at += LANES / 2;
    while (at < n - 1 && values[at] < enough)
        at++;
    return at;
}

/* Squares that a fit explains and those that it leaves, by group, followed by zeros to a whole number
   of registers; the coefficients; and room for as many ratios. */
typedef struct {
    double *explained, *rest, *size, *ratio;
    size_t groups, padded;
    double free; /* degrees of freedom of a group */
} NAMED(fitted);

FUNCTION NAMED(fitted) NAMED(room_for)(double *room, size_t groups, double free) {
    const size_t padded = padded_to_registers(groups);
    NAMED(fitted) fit = {
        room, room + padded, room + 2 * padded, room + 3 * padded, groups, padded, free};
    for (size_t i = groups; i < padded; i++)
        fit.explained[i] = fit.rest[i] = 0;
    return fit;
}

/* The mean ratio, the root of what is explained beyond chance in units of `total`, the greatest
   ratio, and its place, with a gap for its coefficient. The logarithm is taken of products. */
FUNCTION void NAMED(judge)(const NAMED(fitted) * fit, double total, double most, double *out) {
    const DOUBLES zero = {0}, one = zero + 1, tiny = zero + 1e-300, by_free = one / fit->free;
    const double largest = most / fit->free < 30 ? __builtin_expm1(most / fit->free) : INFINITY;
    DOUBLES beyond = zero;
    double logs = 0;
    for (size_t from = 0; from < fit->padded; from += NAMED(BATCH) * (LANES / 2)) {
        const size_t end = SMALLER(from + NAMED(BATCH) * (LANES / 2), fit->padded);
        DOUBLES product = one;
        for (size_t i = from; i < end; i += LANES / 2) {
            const DOUBLES explained = NAMED(load_double)(fit->explained + i);
            const DOUBLES rest = NAMED(load_double)(fit->rest + i);
            const DOUBLES ratio = explained / NAMED(greater)(rest, 1e-12 * explained + tiny);
            const DOUBLES kept = -NAMED(greater)(-ratio, zero - largest);
            NAMED(store)(fit->ratio + i, kept);
            beyond += explained - rest * by_free;
            product *= one + kept;
        }
        for (int lane = 0; lane < LANES / 2; lane++)
            logs += __builtin_log(product[lane]);
    }
    const size_t at = NAMED(greatest_at)(fit->ratio, fit->groups);
    const double above = NAMED(sum_of)(beyond), top = fit->free * __builtin_log1p(fit->ratio[at]);
    out[0] = fit->free * logs / (double)fit->groups;
    out[1] = total > 0 && above > 0 ? __builtin_sqrt(above / total) : 0;
    out[2] = SMALLER(top, most);
    out[4] = (double)at;
}

/* One slope a group, from sums over each group. */
FUNCTION void NAMED(fit_slopes)(
    const double *restrict xx, const double *restrict xr, const double *restrict rr,
    const NAMED(fitted) * fit) {
    double *restrict explained = fit->explained, *restrict rest = fit->rest;
    double *restrict size = fit->size;
    for (size_t i = 0; i < fit->groups; i++) {
        const double usable = xx[i] > 0 ? xx[i] : 1, slope = xr[i] / usable;
        const double b = xx[i] > 0 ? slope : 0, e = b * xr[i], left = rr[i] - e;
        size[i] = b;
        explained[i] = e;
        rest[i] = left > 0 ? left : 0;
    }
}

/* Scale and offset by channel, from the sums along channels. */
FUNCTION void NAMED(fit_channels)(const fits_of *all, double *out) {
    const size_t n = all->channels;
    const double count = (double)all->rows, share = 1 / count, *restrict total = all->by_channel;
    const double *restrict x = total + 3 * n, *restrict r = x + n, *restrict xr = r + n;
    const double *restrict rr = xr + n;
    double *restrict xx = all->room, *restrict both = xx + n, *restrict rest = both + n;
    for (size_t i = 0; i < n; i++) {
        const double mean_x = x[i] * share, mean_r = r[i] * share;
        const double own = total[i] - count * mean_x * mean_x, left = rr[i] - count * mean_r * mean_r;
        xx[i] = own < 1e-12 * total[i] || own < 0 ? 0 : own; /* constant along the rows: no slope */
        both[i] = xr[i] - count * mean_x * mean_r;
        rest[i] = left > 0 ? left : 0;
    }
    const double overall = NAMED(total_of)(total, n), least = 0.01 * overall / (double)n;
    NAMED(fitted) fit = NAMED(room_for)(all->room + 3 * n, n, count - 2);
    NAMED(fit_slopes)(xx, both, rest, &fit);
    NAMED(judge)(&fit, overall, all->most, out);
    out[3] = __builtin_fabs(fit.size[(size_t)out[4]]);
    fit.free = count - 1;
    double *restrict explained = fit.explained;
    for (size_t i = 0; i < n; i++)
        explained[i] = r[i] * r[i] * share;
    memcpy(fit.rest, rest, n * sizeof *rest);
    NAMED(judge)(&fit, overall, all->most, out + OF_PART);
    const size_t top = (size_t)out[OF_PART + 4];
    const double usual = __builtin_sqrt(LARGER(total[top], least) / count);
    out[OF_PART + 3] = __builtin_fabs(r[top] / count) / usual;
}

/* The k-th smallest of numbers of either sign. */
FUNCTION double NAMED(kth_signed)(const double *values, size_t n, size_t k, double *room) {
    size_t below = 0, found = 0;
    for (size_t i = 0; i < n; i++)
        below += values[i] < 0;
    for (size_t i = 0; i < n; i++) {
        room[found] = __builtin_fabs(values[i]);
        found += (values[i] < 0) == (k < below);
    }
    return k < below ? -NAMED(kth)(room, found, below - 1 - k) : NAMED(kth)(room, found, k - below);
}

FUNCTION double NAMED(median_signed)(const double *values, size_t n, double *room) {
    const double upper = NAMED(kth_signed)(values, n, n / 2, room);
    return n % 2 ? upper : (NAMED(kth_signed)(values, n, n / 2 - 1, room) + upper) / 2;
}

/* The median, and its standard error: from the spread of the values, no less than their own say. */
FUNCTION void NAMED(middle)(
    double *values, const double *own, size_t n, const fits_of *all, double *room, double *out) {
    out[0] = NAMED(median_signed)(values, n, room);
    for (size_t i = 0; i < n; i++)
        values[i] = __builtin_fabs(values[i] - out[0]);
    const double spread = all->of_spread * NAMED(median)(values, n);
    const double least = all->of_mean * NAMED(median)(own, n);
    out[1] = LARGER(spread, least) / __builtin_sqrt((double)n);
}

/* The factor and the offset that all groups have in common. */
FUNCTION void NAMED(fit_common)(const fits_of *all, double *out) {
    const size_t groups = all->groups;
    const double *g = all->by_group, count = (double)all->group_size;
    double *factor = all->room, *factor_error = factor + groups, *offset = factor + 2 * groups;
    double *offset_error = offset + groups, *room = offset_error + groups;
    size_t n = 0;
    for (size_t i = 0; i < groups; i++) {
        const double mean_x = g[i] / count, mean_d = g[groups + i] / count;
        const double about = count * mean_x * mean_x, own = g[2 * groups + i] - about;
        const double xx = own > 0 ? own : 0;
        if (!(xx > 1e-9 * (xx + about)))
            continue;
        const double xd = g[3 * groups + i] - count * mean_x * mean_d;
        const double dd = g[4 * groups + i] - count * mean_d * mean_d, slope = xd / xx;
        const double left = dd - slope * xd;
        const double rest = (left > 0 ? left : 0) / (count > 3 ? count - 2 : 1);
        factor[n] = slope;
        offset[n] = mean_d - slope * mean_x;
        factor_error[n] = __builtin_sqrt(rest / xx);
        offset_error[n++] = __builtin_sqrt(rest * (1 / count + mean_x * mean_x / xx));
    }
    if (n < 2) {
        out[0] = out[2] = 0;
        out[1] = out[3] = INFINITY;
        return;
    }
    NAMED(middle)(factor, factor_error, n, all, room, out);
    NAMED(middle)(offset, offset_error, n, all, room, out + 2);
}

/* The median relative error, the greatest and its place, without the greatest element of each where
   there are enough of `length` elements. */
FUNCTION void NAMED(errors_of)(
    const double *restrict xx, const double *restrict dd, const double *restrict most, size_t n,
    int long_enough, double *restrict room, double *out) {
    const double least = 0.25 * NAMED(total_of)(xx, n) / (double)n;
    for (size_t i = 0; i < n; i++) {
        const double usual = xx[i] > least ? xx[i] : least;
        const double without = dd[i] - (long_enough ? most[i] : 0);
        room[i] = __builtin_sqrt((without > 0 ? without : 0) / usual);
    }
    const size_t at = NAMED(greatest_at)(room, n);
    out[0] = NAMED(kth)(room, n, n / 2);
    out[1] = room[at];
    out[2] = (double)at;
}

static TARGET void NAMED(fits)(const fits_of *all) {
    const size_t rows = all->rows, channels = all->channels;
    const double *row = all->by_row, *channel = all->by_channel;
    double *out = all->out;
    if (all->slopes_of_rows) {
        const NAMED(fitted) fit = NAMED(room_for)(all->room, rows, (double)channels - 1);
        NAMED(fit_slopes)(row, row + 3 * rows, row + 4 * rows, &fit);
        NAMED(judge)(&fit, NAMED(total_of)(row, rows), all->most, out);
        out[3] = __builtin_fabs(fit.size[(size_t)out[4]]);
    }
    if (all->of_channels)
        NAMED(fit_channels)(all, out + OF_PART);
    out += 3 * OF_PART;
    NAMED(fit_common)(all, out);
    NAMED(errors_of)(row, row + rows, row + 2 * rows, rows, channels >= all->long_from, all->room, out + 4);
    NAMED(errors_of)(
        channel, channel + channels, channel + 2 * channels, channels, rows >= all->long_from,
        all->room, out + 7);
    const double *plain = channel + 7 * channels, middle = NAMED(kth)(plain, channels, channels / 2);
    out[10] = middle > 0 ? __builtin_sqrt(plain[(size_t)out[9]] / middle) : INFINITY;
}

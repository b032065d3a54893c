/* A sample in which all rows and channels count alike, and its sums: what even_sample.py does with
   numpy. Included once for every instruction set. */

/* Of up to BAND channels: the mean without the `cut` greatest, which are kept in order. */
FUNCTION void NAMED(trimmed_band)(const evening *all, size_t first, size_t n, double *mean) {
    double top[MOST_CUT][BAND], sum[BAND] = {0}, value[BAND];
    for (size_t k = 0; k < all->cut; k++)
        for (size_t i = 0; i < BAND; i++)
            top[k][i] = -1;
    for (size_t r = 0; r < all->rows; r++) {
        const double *x = all->x + r * all->channels + first;
        for (size_t i = 0; i < n; i++)
            value[i] = __builtin_fabs(x[i]);
        for (size_t k = 0; k < all->cut; k++)
            for (size_t i = 0; i < n; i++) {
                const double kept = top[k][i], now = value[i];
                top[k][i] = LARGER(kept, now);
                value[i] = SMALLER(kept, now);
            }
        for (size_t i = 0; i < n; i++)
            sum[i] += LARGER(value[i], 0); /* below it are places that were still empty */
    }
    for (size_t i = 0; i < n; i++)
        mean[i] = sum[i] / (double)(all->rows - all->cut);
}

/* The same of one channel, whatever `cut` is. */
FUNCTION double NAMED(trimmed)(const evening *all, size_t channel, double *room) {
    const size_t rows = all->rows, kept = rows - all->cut;
    double sum = 0;
    size_t below = 0;
    for (size_t r = 0; r < rows; r++)
        room[r] = __builtin_fabs(all->x[r * all->channels + channel]);
    const double limit = NAMED(kth)(room, rows, kept - 1);
    for (size_t r = 0; r < rows; r++)
        if (room[r] < limit) {
            sum += room[r];
            below++;
        }
    return (sum + (double)(kept - below) * limit) / (double)kept;
}

/* The usual size of each channel. 0: all is zero. */
FUNCTION int NAMED(sizes_of_channels)(const evening *all, double *channel, double *room) {
    const size_t channels = all->channels, count = all->rows * channels;
    for (size_t at = 0; at < channels; at += BAND) {
        const size_t n = SMALLER(channels - at, BAND);
        if (all->cut <= MOST_CUT)
            NAMED(trimmed_band)(all, at, n, channel + at);
        else
            for (size_t i = 0; i < n; i++)
                channel[at + i] = NAMED(trimmed)(all, at + i, room);
    }
    const double usual = NAMED(median_of_some)(channel, channels, room);
    if (usual == 0)
        return 0;
    if (all->rows < all->fewest) { /* too few to tell a channel's size from a value's */
        for (size_t i = 0; i < count; i++)
            all->even_x[i] = __builtin_fabs(all->x[i]);
        const double one = LARGER(usual, NAMED(median)(all->even_x, count));
        for (size_t i = 0; i < channels; i++)
            channel[i] = one;
    }
    const double least = all->limits.small_channel * usual;
    for (size_t i = 0; i < channels; i++)
        channel[i] = LARGER(channel[i], least);
    return 1;
}

/* How much larger each row is than it counts for. */
FUNCTION void NAMED(sizes_of_rows)(
    const evening *all, const double *channel, double *larger, double *inverse, double *room) {
    const size_t rows = all->rows, channels = all->channels;
    double *scaled = all->even_x; /* overwritten later */
    for (size_t i = 0; i < channels; i++)
        inverse[i] = 1 / channel[i];
    for (size_t r = 0; r < rows; r++) {
        const double *x = all->x + r * channels;
        for (size_t i = 0; i < channels; i++)
            scaled[i] = __builtin_fabs(x[i]) * inverse[i];
        larger[r] = NAMED(median)(scaled, channels);
    }
    const double middle = NAMED(median_of_some)(larger, rows, room);
    for (size_t r = 0; r < rows; r++)
        larger[r] = middle > 0 ? LARGER(larger[r] / (all->limits.massive_row * middle), 1) : 1;
}

/* Channels that answer to one row get a larger size. */
FUNCTION void NAMED(widen_channels)(
    const evening *all, double *channel, const double *larger, double *most) {
    const size_t channels = all->channels;
    for (size_t i = 0; i < channels; i++)
        most[i] = 0;
    for (size_t r = 0; r < all->rows; r++) {
        const double *x = all->x + r * channels, inverse = 1 / larger[r];
        for (size_t i = 0; i < channels; i++) {
            const double size = __builtin_fabs(x[i]) * inverse;
            most[i] = LARGER(most[i], size);
        }
    }
    for (size_t i = 0; i < channels; i++)
        channel[i] *= LARGER(most[i] / channel[i] / all->limits.massive_channel, 1);
}

/* Adds a register to numbers in memory. */
#define ADD_AT(pointer, value) NAMED(store)(pointer, NAMED(load_double)(pointer) + (value))
#define MOST_AT(pointer, value) NAMED(store)(pointer, NAMED(greater)(NAMED(load_double)(pointer), value))

FUNCTION inline void NAMED(store)(double *to, DOUBLES value) {
    __builtin_memcpy(to, &value, sizeof value);
}

FUNCTION inline DOUBLES NAMED(greater)(DOUBLES a, DOUBLES b) {
    return CHOSEN(NAMED(bits64), a, b, a > b);
}

FUNCTION inline double NAMED(sum_of)(DOUBLES lanes) {
    double sum = 0;
    for (int lane = 0; lane < LANES / 2; lane++)
        sum += lanes[lane];
    return sum;
}

/* The sample as it is: xx, xd, dd, and the extremes of both sides. 0: nothing to be evened. */
FUNCTION int NAMED(sum_plain)(const evening *all) {
    const size_t count = all->rows * all->channels, whole = count - count % (LANES / 2);
    double *out = all->plain, low_x = all->x[0], high_x = low_x, low_y = all->y[0], high_y = low_y;
    DOUBLES xx = {0}, xd = xx, dd = xx, least_x = xx + low_x, most_x = least_x;
    DOUBLES least_y = xx + low_y, most_y = least_y;
    for (size_t i = 0; i < whole; i += LANES / 2) {
        const DOUBLES x = NAMED(load_double)(all->x + i), y = NAMED(load_double)(all->y + i);
        const DOUBLES d = y - x;
        xx += x * x;
        xd += x * d;
        dd += d * d;
        least_x = CHOSEN(NAMED(bits64), x, least_x, x < least_x);
        least_y = CHOSEN(NAMED(bits64), y, least_y, y < least_y);
        most_x = NAMED(greater)(most_x, x);
        most_y = NAMED(greater)(most_y, y);
    }
    double sums[3] = {NAMED(sum_of)(xx), NAMED(sum_of)(xd), NAMED(sum_of)(dd)};
    for (size_t i = whole; i < count; i++) {
        const double x = all->x[i], y = all->y[i], d = y - x;
        sums[0] += x * x;
        sums[1] += x * d;
        sums[2] += d * d;
        low_x = SMALLER(low_x, x);
        high_x = LARGER(high_x, x);
        low_y = SMALLER(low_y, y);
        high_y = LARGER(high_y, y);
    }
    for (int lane = 0; lane < LANES / 2 && whole; lane++) {
        low_x = SMALLER(low_x, least_x[lane]);
        high_x = LARGER(high_x, most_x[lane]);
        low_y = SMALLER(low_y, least_y[lane]);
        high_y = LARGER(high_y, most_y[lane]);
    }
    memcpy(out, sums, sizeof sums);
    out[3] = low_x, out[4] = high_x, out[5] = low_y, out[6] = high_y;
    return sums[0] > 0 && sums[0] - sums[0] == 0 && sums[2] - sums[2] == 0;
}

/* Weights of a band's channels in one row, and what they make of x and of d = y - x. */
typedef struct {
    DOUBLES of_row, massive;
} NAMED(row_weight);

INLINED DOUBLES NAMED(weight_of)(DOUBLES x, DOUBLES channel, const NAMED(row_weight) * row) {
    const DOUBLES one = (DOUBLES){0} + 1, scale = channel * row->of_row;
    const DOUBLES size = NAMED(size_of_double)(x) * scale * row->massive;
    if (!ANY_MORE(size, one)) /* nearly always, and a division takes long */
        return scale;
    return scale / NAMED(greater)(size, one);
}

/* Puts up to a register's numbers into the tables. */
INLINED void NAMED(keep)(const evening *all, size_t at, size_t n, DOUBLES x, DOUBLES d) {
    if (n >= LANES / 2) {
        NAMED(store)(all->even_x + at, x);
        NAMED(store)(all->even_d + at, d);
        return;
    }
    for (size_t k = 0; k < n; k++) {
        all->even_x[at + k] = x[k];
        all->even_d[at + k] = d[k];
    }
}

/* What is the same for all bands: one over the sizes of channels and rows, and over that of a massive
   value (0: values are as large as they like); the slope of the sample as it is. */
typedef struct {
    const double *of_channel, *of_row;
    double massive, slope;
} NAMED(weights);

/* Evens n channels from `first` on and sums x, d and r = d - slope x along both axes. Tables are kept
   where groups are parts of rows. */
FUNCTION void NAMED(even_band)(
    const evening *all, size_t first, size_t n, const NAMED(weights) * weights) {
    enum { STEP = LANES / 2 };
    const size_t rows = all->rows, channels = all->channels, whole = (n + STEP - 1) / STEP * STEP;
    const DOUBLES slope = (DOUBLES){0} + weights->slope;
    double xs[BAND + STEP] = {0}, ys[BAND + STEP] = {0}, scale[BAND + STEP] = {0};
    double band[OF_CHANNEL][BAND + STEP] = {{0}};
    memcpy(scale, weights->of_channel + first, n * sizeof *scale);
    for (size_t r = 0; r < rows; r++) {
        const NAMED(row_weight) weight = {
            (DOUBLES){0} + weights->of_row[r], (DOUBLES){0} + weights->massive};
        const size_t at = r * channels + first;
        const double *x = all->x + at, *y = all->y + at;
        DOUBLES x1 = {0}, r1 = x1, xx = x1, xr = x1, rr = x1, dd = x1, peak = x1;
        if (n % STEP) { /* the last band ends within a register: zeros behind it add nothing */
            memcpy(xs, x, n * sizeof *x);
            memcpy(ys, y, n * sizeof *y);
            x = xs, y = ys;
        }
        for (size_t i = 0; i < whole; i += STEP) {
            const DOUBLES raw = NAMED(load_double)(x + i);
            const DOUBLES w = NAMED(weight_of)(raw, NAMED(load_double)(scale + i), &weight);
            const DOUBLES plain = NAMED(load_double)(y + i) - raw, p = raw * w, d = plain * w;
            const DOUBLES q = d - slope * p, pp = p * p, pq = p * q, qq = q * q, square = d * d;
            ADD_AT(band[0] + i, pp);
            ADD_AT(band[1] + i, square);
            MOST_AT(band[2] + i, square);
            ADD_AT(band[3] + i, p);
            ADD_AT(band[4] + i, q);
            ADD_AT(band[5] + i, pq);
            ADD_AT(band[6] + i, qq);
            ADD_AT(band[7] + i, plain * plain);
            x1 += p;
            r1 += q;
            xx += pp;
            xr += pq;
            rr += qq;
            dd += square;
            peak = NAMED(greater)(peak, square);
            if (all->pieces > 1)
                NAMED(keep)(all, at + i, n - i, p, d);
        }
        const DOUBLES sums[OF_ROW] = {x1, r1, xx, xr, rr, dd};
        for (int which = 0; which < OF_ROW; which++)
            all->of_rows[which * rows + r] += NAMED(sum_of)(sums[which]);
        for (int lane = 0; lane < STEP; lane++)
            all->by_row[2 * rows + r] = LARGER(all->by_row[2 * rows + r], peak[lane]);
    }
    for (int which = 0; which < OF_CHANNEL; which++)
        memcpy(all->by_channel + which * channels + first, band[which], n * sizeof **band);
}

/* From sums of r = d - slope x those of what is left after the best slope of the evened sample, along
   rows and along channels. */
FUNCTION void NAMED(sum_rest)(const evening *all, double slope) {
    const size_t rows = all->rows, channels = all->channels;
    const double *x = all->of_rows, *r1 = x + rows, *xx = r1 + rows, *xr = xx + rows;
    const double *rr = xr + rows, *dd = rr + rows;
    double *of_row = all->by_row, *c = all->by_channel, sums[2] = {0};
    for (size_t r = 0; r < rows; r++) {
        sums[0] += xx[r];
        sums[1] += xr[r];
    }
    const double further = sums[1] / sums[0];
    for (size_t r = 0; r < rows; r++) {
        of_row[r] = xx[r];
        of_row[rows + r] = dd[r];
        of_row[3 * rows + r] = xr[r] - further * xx[r];
        of_row[4 * rows + r] = rest_of(xx[r], xr[r], rr[r], further);
    }
    for (size_t i = 0; i < channels; i++) {
        const double cxx = c[i], cxr = c[5 * channels + i];
        c[4 * channels + i] -= further * c[3 * channels + i];
        c[5 * channels + i] -= further * cxx;
        c[6 * channels + i] = rest_of(cxx, cxr, c[6 * channels + i], further);
    }
    for (size_t r = 0; all->pieces == 1 && r < rows; r++) {
        all->by_group[r] = x[r];
        all->by_group[rows + r] = r1[r] + slope * x[r];
        all->by_group[2 * rows + r] = xx[r];
        all->by_group[3 * rows + r] = xr[r] + slope * xx[r];
        all->by_group[4 * rows + r] = dd[r];
    }
}

/* Sums about zero of every group: x, d, xx, xd, dd. */
FUNCTION void NAMED(sum_groups)(const evening *all) {
    const size_t groups = all->rows * all->pieces, whole = all->length - all->length % (LANES / 2);
    for (size_t g = 0; g < groups; g++) {
        const size_t at = g / all->pieces * all->channels + g % all->pieces * all->length;
        const double *x = all->even_x + at, *d = all->even_d + at;
        DOUBLES x1 = {0}, d1 = x1, xx = x1, xd = x1, dd = x1;
        for (size_t i = 0; i < whole; i += LANES / 2) {
            const DOUBLES p = NAMED(load_double)(x + i), q = NAMED(load_double)(d + i);
            x1 += p;
            d1 += q;
            xx += p * p;
            xd += p * q;
            dd += q * q;
        }
        const DOUBLES lanes[5] = {x1, d1, xx, xd, dd};
        double sums[5];
        for (int which = 0; which < 5; which++)
            sums[which] = NAMED(sum_of)(lanes[which]);
        for (size_t i = whole; i < all->length; i++) {
            const double terms[5] = {x[i], d[i], x[i] * x[i], x[i] * d[i], d[i] * d[i]};
            for (int which = 0; which < 5; which++)
                sums[which] += terms[which];
        }
        for (int which = 0; which < 5; which++)
            all->by_group[which * groups + g] = sums[which];
    }
}

static TARGET void NAMED(even)(const evening *all) {
    const size_t rows = all->rows, channels = all->channels;
    double *channel = all->room, *inverse = channel + channels, *larger = inverse + channels;
    double *room = larger + rows; /* as long as rows or channels */
    if (!NAMED(sum_plain)(all))
        return;
    const int sized = NAMED(sizes_of_channels)(all, channel, room);
    if (sized) {
        NAMED(sizes_of_rows)(all, channel, larger, inverse, room);
        if (rows >= all->fewest)
            NAMED(widen_channels)(all, channel, larger, room);
    }
    for (size_t i = 0; i < channels; i++)
        inverse[i] = sized ? 1 / channel[i] : 1;
    for (size_t r = 0; r < rows; r++)
        larger[r] = sized ? 1 / larger[r] : 1;
    const NAMED(weights) weights = {
        inverse, larger, sized ? 1 / all->limits.massive : 0, all->plain[1] / all->plain[0]};
    for (size_t first = 0; first < channels; first += BAND)
        NAMED(even_band)(all, first, SMALLER(channels - first, BAND), &weights);
    NAMED(sum_rest)(all, weights.slope);
    if (all->pieces > 1)
        NAMED(sum_groups)(all);
}

#undef ADD_AT
#undef MOST_AT

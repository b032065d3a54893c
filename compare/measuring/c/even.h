/* A sample in which all rows and channels count alike, and its sums: what even_sample.py does with
   numpy. Included once for every instruction set. */

#define SMALLER(a, b) ((a) < (b) ? (a) : (b))
#define LARGER(a, b) ((a) > (b) ? (a) : (b))

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

/* x and d = y - x with their weights. Without sizes of channels all weights are 1. */
FUNCTION void NAMED(weigh_down)(
    const evening *all, const double *channel, const double *larger, double *inverse) {
    const size_t channels = all->channels;
    const double massive = 1 / all->limits.massive;
    for (size_t i = 0; i < channels; i++)
        inverse[i] = channel ? 1 / channel[i] : 1;
    for (size_t r = 0; r < all->rows; r++) {
        const size_t at = r * channels;
        const double of_row = channel ? 1 / larger[r] : 1, share = channel ? massive : 0;
        for (size_t i = 0; i < channels; i++) {
            const double x = all->x[at + i], d = all->y[at + i] - x, scale = inverse[i] * of_row;
            const double size = __builtin_fabs(x) * scale * share;
            const double weight = scale / LARGER(size, 1);
            all->even_x[at + i] = x * weight;
            all->even_d[at + i] = d * weight;
        }
    }
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

/* Sums of squares along both axes, and the greatest of each; of a band of n channels. */
FUNCTION double NAMED(squares_of_band)(const evening *all, size_t first, size_t n) {
    const size_t rows = all->rows, channels = all->channels, whole = n - n % (LANES / 2);
    double *row_xx = all->by_row, *row_dd = row_xx + rows, *row_most = row_dd + rows;
    double *xx = all->by_channel + first, *dd = xx + channels, *most = dd + channels, xd = 0;
    for (size_t r = 0; r < rows; r++) {
        const double *x = all->even_x + r * channels + first;
        const double *d = all->even_d + r * channels + first;
        DOUBLES xs = {0}, ds = xs, xds = xs, peak = xs;
        for (size_t i = 0; i < whole; i += LANES / 2) {
            const DOUBLES p = NAMED(load_double)(x + i), q = NAMED(load_double)(d + i);
            const DOUBLES a = p * p, b = q * q;
            ADD_AT(xx + i, a);
            ADD_AT(dd + i, b);
            MOST_AT(most + i, b);
            xs += a;
            ds += b;
            xds += p * q;
            peak = NAMED(greater)(peak, b);
        }
        for (size_t i = whole; i < n; i++) {
            const double a = x[i] * x[i], b = d[i] * d[i];
            xx[i] += a;
            dd[i] += b;
            most[i] = LARGER(most[i], b);
            row_xx[r] += a;
            row_dd[r] += b;
            xd += x[i] * d[i];
            row_most[r] = LARGER(row_most[r], b);
        }
        row_xx[r] += NAMED(sum_of)(xs);
        row_dd[r] += NAMED(sum_of)(ds);
        xd += NAMED(sum_of)(xds);
        for (int lane = 0; lane < LANES / 2; lane++)
            row_most[r] = LARGER(row_most[r], peak[lane]);
    }
    return xd;
}

/* Sums of what is left of d after the best multiple of x, r = d - slope x; of a band. */
FUNCTION void NAMED(rest_of_band)(const evening *all, size_t first, size_t n, double slope) {
    const size_t rows = all->rows, channels = all->channels, whole = n - n % (LANES / 2);
    double *row_xr = all->by_row + 3 * rows, *row_rr = row_xr + rows;
    double *x1 = all->by_channel + 3 * channels + first, *r1 = x1 + channels;
    double *xr = r1 + channels, *rr = xr + channels;
    for (size_t at = 0; at < rows; at++) {
        const double *x = all->even_x + at * channels + first;
        const double *d = all->even_d + at * channels + first;
        DOUBLES xrs = {0}, rrs = xrs;
        for (size_t i = 0; i < whole; i += LANES / 2) {
            const DOUBLES p = NAMED(load_double)(x + i);
            const DOUBLES r = NAMED(load_double)(d + i) - slope * p, a = p * r, b = r * r;
            ADD_AT(x1 + i, p);
            ADD_AT(r1 + i, r);
            ADD_AT(xr + i, a);
            ADD_AT(rr + i, b);
            xrs += a;
            rrs += b;
        }
        for (size_t i = whole; i < n; i++) {
            const double r = d[i] - slope * x[i], a = x[i] * r, b = r * r;
            x1[i] += x[i];
            r1[i] += r;
            xr[i] += a;
            rr[i] += b;
            row_xr[at] += a;
            row_rr[at] += b;
        }
        row_xr[at] += NAMED(sum_of)(xrs);
        row_rr[at] += NAMED(sum_of)(rrs);
    }
}

FUNCTION void NAMED(sum_axes)(const evening *all) {
    double xd = 0, xx = 0;
    for (size_t first = 0; first < all->channels; first += BAND)
        xd += NAMED(squares_of_band)(all, first, SMALLER(all->channels - first, BAND));
    for (size_t r = 0; r < all->rows; r++)
        xx += all->by_row[r];
    for (size_t first = 0; first < all->channels; first += BAND)
        NAMED(rest_of_band)(all, first, SMALLER(all->channels - first, BAND), xd / xx);
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
    const int sized = NAMED(sizes_of_channels)(all, channel, room);
    if (sized) {
        NAMED(sizes_of_rows)(all, channel, larger, inverse, room);
        if (rows >= all->fewest)
            NAMED(widen_channels)(all, channel, larger, room);
    }
    NAMED(weigh_down)(all, sized ? channel : NULL, larger, inverse);
    NAMED(sum_axes)(all);
    NAMED(sum_groups)(all);
}

#undef ADD_AT
#undef MOST_AT
#undef SMALLER
#undef LARGER

/* A sample in which all rows and channels count alike, and its sums: what even_sample.py does with
   numpy. Included once for every instruction set and for every type of numbers that a sample may
   be of: `NUMBER`, `OF_TYPE`, and `LOAD_NUMBERS`, which makes a register of float64 of them. What is
   computed is the same for all. */

/* Of up to BAND channels: the mean without the `cut` greatest, which are kept in order. */
FUNCTION void OF_TYPE(trimmed_band)(const evening *all, size_t first, size_t n, double *mean) {
    double top[MOST_CUT][BAND], sum[BAND] = {0}, value[BAND];
    for (size_t k = 0; k < all->cut; k++)
        for (size_t i = 0; i < BAND; i++)
            top[k][i] = -1;
    for (size_t r = 0; r < all->rows; r++) {
        const NUMBER *x = (const NUMBER *)all->x + r * all->channels + first;
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
FUNCTION double OF_TYPE(trimmed)(const evening *all, size_t channel, double *room) {
    const size_t rows = all->rows, kept = rows - all->cut;
    double sum = 0;
    size_t below = 0;
    for (size_t r = 0; r < rows; r++)
        room[r] = __builtin_fabs(((const NUMBER *)all->x)[r * all->channels + channel]);
    const double limit = NAMED(kth)(room, rows, kept - 1);
    for (size_t r = 0; r < rows; r++)
        if (room[r] < limit) {
            sum += room[r];
            below++;
        }
    return (sum + (double)(kept - below) * limit) / (double)kept;
}

/* The usual size of each channel. 0: all is zero. */
FUNCTION int OF_TYPE(sizes_of_channels)(const evening *all, double *channel, double *room) {
    const size_t channels = all->channels, count = all->rows * channels;
    for (size_t at = 0; at < channels; at += BAND) {
        const size_t n = SMALLER(channels - at, BAND);
        if (all->cut <= MOST_CUT)
            OF_TYPE(trimmed_band)(all, at, n, channel + at);
        else
            for (size_t i = 0; i < n; i++)
                channel[at + i] = OF_TYPE(trimmed)(all, at + i, room);
    }
    const double usual = NAMED(median_of_some)(channel, channels, room);
    if (usual == 0)
        return 0;
    if (all->rows < all->fewest) { /* too few to tell a channel's size from a value's */
        for (size_t i = 0; i < count; i++)
            all->even_x[i] = __builtin_fabs(((const NUMBER *)all->x)[i]);
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
FUNCTION void OF_TYPE(sizes_of_rows)(
    const evening *all, const double *channel, double *larger, double *inverse, double *room) {
    const size_t rows = all->rows, channels = all->channels;
    double *scaled = all->even_x; /* overwritten later */
    for (size_t i = 0; i < channels; i++)
        inverse[i] = 1 / channel[i];
    for (size_t r = 0; r < rows; r++) {
        const NUMBER *x = (const NUMBER *)all->x + r * channels;
        for (size_t i = 0; i < channels; i++)
            scaled[i] = __builtin_fabs(x[i]) * inverse[i];
        larger[r] = NAMED(median)(scaled, channels);
    }
    const double middle = NAMED(median_of_some)(larger, rows, room);
    for (size_t r = 0; r < rows; r++)
        larger[r] = middle > 0 ? LARGER(larger[r] / (all->limits.massive_row * middle), 1) : 1;
}

/* Channels that answer to one row get a larger size. */
FUNCTION void OF_TYPE(widen_channels)(
    const evening *all, double *channel, const double *larger, double *most) {
    const size_t channels = all->channels;
    for (size_t i = 0; i < channels; i++)
        most[i] = 0;
    for (size_t r = 0; r < all->rows; r++) {
        const NUMBER *x = (const NUMBER *)all->x + r * channels;
        const double inverse = 1 / larger[r];
        for (size_t i = 0; i < channels; i++) {
            const double size = __builtin_fabs(x[i]) * inverse;
            most[i] = LARGER(most[i], size);
        }
    }
    for (size_t i = 0; i < channels; i++)
        channel[i] *= LARGER(most[i] / channel[i] / all->limits.massive_channel, 1);
}

/* The sample as it is: xx, xd, dd, and the extremes of both sides. 0: nothing to be evened. */
FUNCTION int OF_TYPE(sum_plain)(const evening *all) {
    const size_t count = all->rows * all->channels, whole = count - count % (LANES / 2);
    const NUMBER *const xs = all->x, *const ys = all->y;
    double *out = all->plain, low_x = xs[0], high_x = low_x, low_y = ys[0], high_y = low_y;
    DOUBLES xx = {0}, xd = xx, dd = xx, least_x = xx + low_x, most_x = least_x;
    DOUBLES least_y = xx + low_y, most_y = least_y;
    for (size_t i = 0; i < whole; i += LANES / 2) {
        const DOUBLES x = LOAD_NUMBERS(xs + i), y = LOAD_NUMBERS(ys + i);
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
        const double x = xs[i], y = ys[i], d = y - x;
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

/* Evens n channels from `first` on and sums x, d and r = d - slope x along both axes. Tables are
   kept where groups are parts of rows. */
FUNCTION void OF_TYPE(even_band)(
    const evening *all, size_t first, size_t n, const NAMED(weights) * weights) {
    enum { STEP = LANES / 2 };
    const size_t rows = all->rows, channels = all->channels, whole = (n + STEP - 1) / STEP * STEP;
    const DOUBLES slope = (DOUBLES){0} + weights->slope;
    NUMBER xs[BAND + STEP] = {0}, ys[BAND + STEP] = {0};
    double scale[BAND + STEP] = {0};
    double band[OF_CHANNEL][BAND + STEP] = {{0}};
    memcpy(scale, weights->of_channel + first, n * sizeof *scale);
    for (size_t r = 0; r < rows; r++) {
        const NAMED(row_weight) weight = {
            (DOUBLES){0} + weights->of_row[r], (DOUBLES){0} + weights->massive};
        const size_t at = r * channels + first;
        const NUMBER *x = (const NUMBER *)all->x + at, *y = (const NUMBER *)all->y + at;
        DOUBLES x1 = {0}, r1 = x1, xx = x1, xr = x1, rr = x1, dd = x1, peak = x1;
        if (n % STEP) { /* the last band ends within a register: zeros behind it add nothing */
            memcpy(xs, x, n * sizeof *x);
            memcpy(ys, y, n * sizeof *y);
            x = xs, y = ys;
        }
        for (size_t i = 0; i < whole; i += STEP) {
            const DOUBLES raw = LOAD_NUMBERS(x + i);
            const DOUBLES w = NAMED(weight_of)(raw, NAMED(load_double)(scale + i), &weight);
            const DOUBLES plain = LOAD_NUMBERS(y + i) - raw, p = raw * w, d = plain * w;
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

static TARGET void OF_TYPE(even)(const evening *all) {
    const size_t rows = all->rows, channels = all->channels;
    double *channel = all->room, *inverse = channel + channels, *larger = inverse + channels;
    double *room = larger + rows; /* as long as rows or channels */
    if (!OF_TYPE(sum_plain)(all))
        return;
    const int sized = OF_TYPE(sizes_of_channels)(all, channel, room);
    if (sized) {
        OF_TYPE(sizes_of_rows)(all, channel, larger, inverse, room);
        if (rows >= all->fewest)
            OF_TYPE(widen_channels)(all, channel, larger, room);
    }
    for (size_t i = 0; i < channels; i++)
        inverse[i] = sized ? 1 / channel[i] : 1;
    for (size_t r = 0; r < rows; r++)
        larger[r] = sized ? 1 / larger[r] : 1;
    const NAMED(weights) weights = {
        inverse, larger, sized ? 1 / all->limits.massive : 0, all->plain[1] / all->plain[0]};
    for (size_t first = 0; first < channels; first += BAND)
        OF_TYPE(even_band)(all, first, SMALLER(channels - first, BAND), &weights);
    NAMED(sum_rest)(all, weights.slope);
    if (all->pieces > 1)
        NAMED(sum_groups)(all);
}

/* Elements of `y` at its extremes whose `x` is well beyond them; none where most of what is beyond
   them in `x` is elsewhere in `y`, or where a single one is there. */
FUNCTION int64_t OF_TYPE(beyond_end)(
    const NUMBER *x, const NUMBER *y, size_t n, double end, double sign, double beyond) {
    const double limit = sign * end * beyond;
    int64_t at_end = 0, all = 0, standing = 0;
    for (size_t i = 0; i < n; i++) {
        const int far = sign * x[i] > limit, at = y[i] == end;
        at_end += at;
        all += far;
        standing += far & at;
    }
    return at_end >= 2 && 2 * standing > all ? standing : 0;
}

/* Of y at its ends less of x at its. `ends`: the least and the greatest of x, then of y. These tell
   nearly always that there is nothing beyond. */
static TARGET int64_t OF_TYPE(saturated)(
    const void *left, const void *right, size_t n, const double *ends, double beyond) {
    int64_t found = 0;
    for (int which = 0; which < 4; which++) {
        const NUMBER *own = which < 2 ? left : right, *other = which < 2 ? right : left;
        const double end = ends[which], farthest = ends[which ^ 2], sign = which % 2 ? 1 : -1;
        if (sign * end > 0 && sign * farthest > sign * end * beyond)
            found += (which < 2 ? -1 : 1) * OF_TYPE(beyond_end)(other, own, n, end, sign, beyond);
    }
    return found;
}

#undef NUMBER
#undef OF_TYPE
#undef LOAD_NUMBERS

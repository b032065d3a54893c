/* A sample in which all rows and channels count alike, and its sums: what even_sample.py does with
   numpy. Included once for every instruction set and for every type of numbers that a sample may
   be of: `NUMBER`, `OF_TYPE`, and `LOAD_NUMBERS`, which makes a register of float64 of them. What is
   computed is the same for all. */

/* From a place on n numbers in whole registers: the last band ends within one, and zeros behind it
   add nothing. */
FUNCTION const NUMBER *OF_TYPE(in_registers)(const NUMBER *from, size_t n, NUMBER *room) {
    enum { STEP = LANES / 2 };
    if (n % STEP == 0)
        return from;
    memset(room + n / STEP * STEP, 0, STEP * sizeof *room);
    memcpy(room, from, n * sizeof *room);
    return room;
}

/* Takes numbers in: the greatest of each lane stay in `top`, in order; others are summed. */
INLINED DOUBLES OF_TYPE(trim)(DOUBLES value, DOUBLES sum, DOUBLES *top, const size_t cut) {
    const DOUBLES none = {0};
    for (size_t k = 0; k < cut; k++) {
        const DOUBLES kept = top[k];
        top[k] = GREATER_DOUBLE(kept, value);
        value = LESSER_DOUBLE(kept, value);
    }
    return sum + GREATER_DOUBLE(value, none); /* below it are places that were still empty */
}

/* Of up to two registers of channels: the mean without the `cut` greatest, and the greatest. What
   `cut` is may be known when this is compiled. */
INLINED void OF_TYPE(trimmed_pair)(
    const evening *all, size_t first, size_t n, const size_t cut, double *mean, double *greatest) {
    enum { STEP = LANES / 2 };
    const DOUBLES none = {0}, size = none + (double)(all->rows - cut);
    DOUBLES top[MOST_CUT], others[MOST_CUT], sum = none, other = none;
    NUMBER room[2 * STEP] = {0};
    top[0] = others[0] = none;
    for (size_t k = 0; k < cut; k++)
        top[k] = others[k] = none - 1;
    for (size_t r = 0; r < all->rows; r++) {
        const NUMBER *x = (const NUMBER *)all->x + r * all->channels + first;
        if (n < 2 * STEP)
            x = memcpy(room, x, n * sizeof *x);
        sum = OF_TYPE(trim)(NAMED(size_of_double)(LOAD_NUMBERS(x)), sum, top, cut);
        other = OF_TYPE(trim)(NAMED(size_of_double)(LOAD_NUMBERS(x + STEP)), other, others, cut);
    }
    NAMED(store_some)(mean, SMALLER(n, STEP), sum / size);
    NAMED(store_some)(mean + STEP, n > STEP ? n - STEP : 0, other / size);
    NAMED(store_some)(greatest, SMALLER(n, STEP), top[0]);
    NAMED(store_some)(greatest + STEP, n > STEP ? n - STEP : 0, others[0]);
}

/* The same of all channels. `greatest` is of use only where some are left out. */
FUNCTION void OF_TYPE(trimmed_channels)(const evening *all, double *mean, double *greatest) {
    for (size_t at = 0; at < all->channels; at += LANES) {
        const size_t n = SMALLER(all->channels - at, LANES);
        if (all->cut == 2) /* of most samples */
            OF_TYPE(trimmed_pair)(all, at, n, 2, mean + at, greatest + at);
        else if (all->cut == 1)
            OF_TYPE(trimmed_pair)(all, at, n, 1, mean + at, greatest + at);
        else
            OF_TYPE(trimmed_pair)(all, at, n, all->cut, mean + at, greatest + at);
    }
}

/* The same of one channel, whatever `cut` is. */
FUNCTION double OF_TYPE(trimmed)(
    const evening *all, size_t channel, double *room, double *greatest) {
    const size_t rows = all->rows, kept = rows - all->cut;
    double sum = 0, most = 0;
    size_t below = 0;
    for (size_t r = 0; r < rows; r++)
        room[r] = __builtin_fabs(((const NUMBER *)all->x)[r * all->channels + channel]);
    const double limit = NAMED(kth)(room, rows, kept - 1);
    for (size_t r = 0; r < rows; r++)
        if (room[r] < limit) {
            sum += room[r];
            below++;
        }
    for (size_t r = 0; r < rows; r++)
        most = LARGER(room[r], most);
    *greatest = most;
    return (sum + (double)(kept - below) * limit) / (double)kept;
}

/* The usual size of each channel, and its greatest value. 0: all is zero. */
FUNCTION int OF_TYPE(sizes_of_channels)(
    const evening *all, double *channel, double *greatest, double *room) {
    const size_t channels = all->channels, count = all->rows * channels;
    if (all->cut <= MOST_CUT)
        OF_TYPE(trimmed_channels)(all, channel, greatest);
    else
        for (size_t i = 0; i < channels; i++)
            channel[i] = OF_TYPE(trimmed)(all, i, room, greatest + i);
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

/* Whether any of n channels may have a value that makes it larger: rows never turn one up. */
FUNCTION int OF_TYPE(any_massive)(
    const double *channel, const double *greatest, size_t n, double massive) {
    int found = 0;
    for (size_t i = 0; i < n; i++)
        found |= greatest[i] > channel[i] * massive * (1 - ALIKE_ENOUGH);
    return found;
}

/* Channels that answer to one row get a larger size. `greatest` tells of most that they do not. */
FUNCTION void OF_TYPE(widen_channels)(
    const evening *all, double *channel, const double *larger, const double *greatest) {
    const double massive = all->limits.massive_channel;
    for (size_t first = 0; first < all->channels; first += BAND) {
        const size_t n = SMALLER(all->channels - first, BAND);
        double most[BAND] = {0};
        if (!OF_TYPE(any_massive)(channel + first, greatest + first, n, massive))
            continue;
        for (size_t r = 0; r < all->rows; r++) {
            const NUMBER *x = (const NUMBER *)all->x + r * all->channels + first;
            const double inverse = 1 / larger[r];
            for (size_t i = 0; i < n; i++) {
                const double size = __builtin_fabs(x[i]) * inverse;
                most[i] = LARGER(most[i], size);
            }
        }
        for (size_t i = 0; i < n; i++)
            channel[first + i] *= LARGER(most[i] / channel[first + i] / massive, 1);
    }
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
        xx = FUSED_DOUBLE(x, x, xx);
        xd = FUSED_DOUBLE(x, d, xd);
        dd = FUSED_DOUBLE(d, d, dd);
        least_x = LESSER_DOUBLE(x, least_x);
        least_y = LESSER_DOUBLE(y, least_y);
        most_x = GREATER_DOUBLE(most_x, x);
        most_y = GREATER_DOUBLE(most_y, y);
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

/* A row's numbers in a band, what they are multiplied by, and what is summed of them. */
typedef struct {
    const NUMBER *x, *y;
    size_t at; /* the place of the first in the sample */
    NAMED(row_weight) weight;
    NAMED(row_sums) sums;
} OF_TYPE(row_of_band);

INLINED OF_TYPE(row_of_band) OF_TYPE(row_at)(
    const evening *all, size_t first, size_t n, size_t row, const NAMED(weights) * weights,
    NUMBER room[2][BAND]) {
    const size_t at = row * all->channels + first;
    return (OF_TYPE(row_of_band)){
        .x = OF_TYPE(in_registers)((const NUMBER *)all->x + at, n, room[0]),
        .y = OF_TYPE(in_registers)((const NUMBER *)all->y + at, n, room[1]),
        .at = at, .weight = NAMED(weight_of_row)(weights, row)};
}

/* Evens a register of a row, i numbers behind its first; `against` is minus the slope. */
INLINED void OF_TYPE(even_register)(
    const evening *all, size_t i, size_t n, DOUBLES scale, DOUBLES against,
    OF_TYPE(row_of_band) * row, NAMED(channel_sums) * channel) {
    const DOUBLES raw = LOAD_NUMBERS(row->x + i), plain = LOAD_NUMBERS(row->y + i) - raw;
    const DOUBLES w = NAMED(weight_of)(raw, scale, &row->weight), p = raw * w, d = plain * w;
    NAMED(add_evened)(p, d, FUSED_DOUBLE(against, p, d), plain, &row->sums, channel);
    if (all->pieces > 1)
        NAMED(keep)(all, row->at + i, n - i, p, d);
}

/* Evens n channels from `first` on in one row, or in this and the next, which spares half of what
   sums along channels read and write; and sums x, d and r = d - slope x along both axes. */
INLINED void OF_TYPE(even_rows)(
    const evening *all, size_t first, size_t n, size_t row, const int both,
    const NAMED(weights) * weights, NAMED(band) * band) {
    const DOUBLES against = (DOUBLES){0} - weights->slope;
    NUMBER room[4][BAND];
    OF_TYPE(row_of_band) one = OF_TYPE(row_at)(all, first, n, row, weights, room);
    OF_TYPE(row_of_band) other = OF_TYPE(row_at)(all, first, n, row + both, weights, room + 2);
    for (size_t i = 0; i < n; i += LANES / 2) {
        const DOUBLES scale = NAMED(load_double)(band->scale + i);
        NAMED(channel_sums) channel = NAMED(channel_sums_at)(band, i);
        OF_TYPE(even_register)(all, i, n, scale, against, &one, &channel);
        if (both)
            OF_TYPE(even_register)(all, i, n, scale, against, &other, &channel);
        NAMED(put_channel_sums)(&channel, band, i);
    }
    NAMED(add_to_row)(all, row, &one.sums);
    if (both)
        NAMED(add_to_row)(all, row + 1, &other.sums);
}

/* All rows of n channels. Tables are kept where groups are parts of rows. */
FUNCTION void OF_TYPE(even_band)(
    const evening *all, size_t first, size_t n, const NAMED(weights) * weights) {
    NAMED(band) band = {.scale = {0}};
    memcpy(band.scale, weights->of_channel + first, n * sizeof *band.scale);
    size_t r = 0;
    for (; r + 2 <= all->rows; r += 2)
        OF_TYPE(even_rows)(all, first, n, r, 1, weights, &band);
    if (r < all->rows)
        OF_TYPE(even_rows)(all, first, n, r, 0, weights, &band);
    for (int which = 0; which < OF_CHANNEL; which++)
        for (size_t i = 0; i < n; i += LANES / 2)
            NAMED(store_some)(
                all->by_channel + which * all->channels + first + i, SMALLER(n - i, LANES / 2),
                NAMED(load_double)(band.sums[which] + i));
}

static TARGET void OF_TYPE(even)(const evening *all) {
    const size_t rows = all->rows, channels = all->channels;
    double *channel = all->room, *inverse = channel + channels, *greatest = inverse + channels;
    double *room = greatest + channels, *larger = room + LARGER(rows, channels);
    clear_sums(all);
    if (!OF_TYPE(sum_plain)(all)) {
        memset(all->by_channel, 0, OF_CHANNEL * channels * sizeof(double));
        return;
    }
    const int sized = OF_TYPE(sizes_of_channels)(all, channel, greatest, room);
    if (sized) {
        OF_TYPE(sizes_of_rows)(all, channel, larger, inverse, room);
        if (rows >= all->fewest)
            OF_TYPE(widen_channels)(all, channel, larger, greatest);
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

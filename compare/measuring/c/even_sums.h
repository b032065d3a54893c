/* What evening a sample needs that does not see it: registers in memory, weights, and sums of what
   is evened. Included once for every instruction set. */

/* A register of float64 from as many float32. */
FUNCTION inline DOUBLES NAMED(load_widened)(const float *from) {
#ifdef WIDEN_FLOATS
    return (DOUBLES)WIDEN_FLOATS(from);
#else
    NAMED(half_floats) some;
    __builtin_memcpy(&some, from, sizeof some);
    return __builtin_convertvector(some, DOUBLES);
#endif
}

FUNCTION inline void NAMED(store)(double *to, DOUBLES value) {
    __builtin_memcpy(to, &value, sizeof value);
}

/* The first n of a register, or all. */
INLINED void NAMED(store_some)(double *to, size_t n, DOUBLES value) {
    if (n >= LANES / 2)
        NAMED(store)(to, value);
    else
        for (size_t lane = 0; lane < n; lane++)
            to[lane] = value[lane];
}

FUNCTION inline DOUBLES NAMED(greater)(DOUBLES a, DOUBLES b) {
    return GREATER_DOUBLE(a, b);
}

FUNCTION inline double NAMED(sum_of)(DOUBLES lanes) {
    double sum = 0;
    for (int lane = 0; lane < LANES / 2; lane++)
        sum += lanes[lane];
    return sum;
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
    NAMED(store_some)(all->even_x + at, n, x);
    NAMED(store_some)(all->even_d + at, n, d);
}

/* What is the same for all bands: one over the sizes of channels and rows, and over that of a
   massive value (0: values are as large as they like); the slope of the sample as it is. */
typedef struct {
    const double *of_channel, *of_row;
    double massive, slope;
} NAMED(weights);

INLINED NAMED(row_weight) NAMED(weight_of_row)(const NAMED(weights) * weights, size_t row) {
    const DOUBLES none = {0};
    return (NAMED(row_weight)){none + weights->of_row[row], none + weights->massive};
}

/* Sums along a row, in lanes, and along the channels of a register; a band's are in memory. */
typedef struct {
    DOUBLES x, r, xx, xr, rr, dd, most;
} NAMED(row_sums);

typedef struct {
    DOUBLES xx, dd, most, x, r, xr, rr, plain;
} NAMED(channel_sums);

typedef struct {
    double scale[BAND + REGISTER] IN_REGISTERS, sums[OF_CHANNEL][BAND + REGISTER];
} NAMED(band);

INLINED NAMED(channel_sums) NAMED(channel_sums_at)(const NAMED(band) * band, size_t i) {
    return (NAMED(channel_sums)){
        NAMED(load_double)(band->sums[0] + i), NAMED(load_double)(band->sums[1] + i),
        NAMED(load_double)(band->sums[2] + i), NAMED(load_double)(band->sums[3] + i),
        NAMED(load_double)(band->sums[4] + i), NAMED(load_double)(band->sums[5] + i),
        NAMED(load_double)(band->sums[6] + i), NAMED(load_double)(band->sums[7] + i)};
}

INLINED void NAMED(put_channel_sums)(
    const NAMED(channel_sums) * found, NAMED(band) * band, size_t i) {
    NAMED(store)(band->sums[0] + i, found->xx);
    NAMED(store)(band->sums[1] + i, found->dd);
    NAMED(store)(band->sums[2] + i, found->most);
    NAMED(store)(band->sums[3] + i, found->x);
    NAMED(store)(band->sums[4] + i, found->r);
    NAMED(store)(band->sums[5] + i, found->xr);
    NAMED(store)(band->sums[6] + i, found->rr);
    NAMED(store)(band->sums[7] + i, found->plain);
}

/* `plain` is a difference that is not evened. */
INLINED void NAMED(add_evened)(
    DOUBLES x, DOUBLES d, DOUBLES r, DOUBLES plain, NAMED(row_sums) * row,
    NAMED(channel_sums) * channel) {
    const DOUBLES dd = d * d;
    channel->xx = FUSED_DOUBLE(x, x, channel->xx);
    channel->dd += dd;
    channel->most = GREATER_DOUBLE(channel->most, dd);
    channel->x += x;
    channel->r += r;
    channel->xr = FUSED_DOUBLE(x, r, channel->xr);
    channel->rr = FUSED_DOUBLE(r, r, channel->rr);
    channel->plain = FUSED_DOUBLE(plain, plain, channel->plain);
    row->x += x;
    row->r += r;
    row->xx = FUSED_DOUBLE(x, x, row->xx);
    row->xr = FUSED_DOUBLE(x, r, row->xr);
    row->rr = FUSED_DOUBLE(r, r, row->rr);
    row->dd += dd;
    row->most = GREATER_DOUBLE(row->most, dd);
}

INLINED void NAMED(add_to_row)(const evening *all, size_t row, const NAMED(row_sums) * found) {
    const DOUBLES sums[OF_ROW] = {found->x, found->r, found->xx, found->xr, found->rr, found->dd};
    double *most = all->by_row + 2 * all->rows + row;
    for (int which = 0; which < OF_ROW; which++)
        all->of_rows[which * all->rows + row] += NAMED(sum_of)(sums[which]);
    for (int lane = 0; lane < LANES / 2; lane++)
        *most = LARGER(*most, found->most[lane]);
}

/* From sums of r = d - slope x those of what is left after the best slope of the evened sample,
   along rows and along channels. */
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

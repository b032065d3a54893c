/* What rows of logits come to (see divergence.py, which has the same in numpy's arithmetic), row by
   row in float64. Included once for every instruction set. */

/* The greatest of a run, the second, and where the first of the greatest stands. */
typedef struct {
    double most, second;
    size_t at;
    int nan;
} NAMED(top);

INLINED void NAMED(take_top)(NAMED(top) * all, double most, double second, size_t at) {
    const int greater = most > all->most;
    const double lesser = greater ? all->most : most;
    second = second > all->second ? second : all->second;
    all->second = lesser > second ? lesser : second;
    if (greater)
        all->most = most, all->at = at;
}

/* Of a tile, whose first number is the one at `from`; `at` becomes that place. */
FUNCTION void NAMED(top_of_tile)(const double *values, size_t n, size_t from, NAMED(top) * all) {
    const DOUBLES none = (DOUBLES){0} - INFINITY;
    const size_t whole = n - n % (LANES / 2);
    DOUBLES first = none, second = none;
    NAMED(bits64) nan = {0};
    NAMED(top) of_tile = {-INFINITY, -INFINITY, 0, 0};
    for (size_t i = 0; i < whole; i += LANES / 2) {
        const DOUBLES own = NAMED(load_double)(values + i);
        second = GREATER_DOUBLE(LESSER_DOUBLE(own, first), second);
        first = GREATER_DOUBLE(own, first);
        nan |= own != own;
    }
    for (int lane = 0; lane < LANES / 2; lane++) {
        NAMED(take_top)(&of_tile, first[lane], second[lane], 0);
        of_tile.nan |= nan[lane] != 0;
    }
    for (size_t i = whole; i < n; i++) {
        NAMED(take_top)(&of_tile, values[i], -INFINITY, 0);
        of_tile.nan |= values[i] != values[i];
    }
    all->nan |= of_tile.nan;
    NAMED(take_top)(all, of_tile.most, of_tile.second, from);
}

FUNCTION NAMED(top) NAMED(top_of)(const side_in *side, size_t from, size_t n) {
    IN_REGISTERS double room[TILE];
    NAMED(top) all = {-INFINITY, -INFINITY, from, 0};
    for (size_t at = from; at < from + n; at += TILE) {
        const size_t some = SMALLER(from + n - at, (size_t)TILE);
        NAMED(top_of_tile)(NAMED(as_float64)(side, at, some, room), some, at, &all);
    }
    if (all.nan)
        return all;
    const size_t some = SMALLER(from + n - all.at, (size_t)TILE);
    const double *values = NAMED(as_float64)(side, all.at, some, room);
    size_t i = 0;
    while (values[i] != all.most)
        i++;
    all.at += i;
    return all;
}

/* e^x of numbers that are not above 0; -Inf gives 0. With x = k ln 2 + r and |r| <= ln 2 / 2, 2^k is
   made of bits, by halves, since it may be too small for one number; e^r is its Taylor series, whose
   next term is below 2e-16. */
INLINED DOUBLES NAMED(exponential)(DOUBLES x) {
    const DOUBLES zero = {0}, shift = zero + 0x1.8p52; /* rounds, with whole numbers in the last bits */
    static const double terms[] = {1.0 / 479001600, 1.0 / 39916800, 1.0 / 3628800, 1.0 / 362880,
                                   1.0 / 40320,     1.0 / 5040,     1.0 / 720,     1.0 / 120,
                                   1.0 / 24,        1.0 / 6,        0.5,           1,
                                   1};
    x = GREATER_DOUBLE(x, zero - 746); /* e^-746 is 0 in float64 */
    const DOUBLES k = FUSED_DOUBLE(x, zero + 0x1.71547652b82fep0, shift) - shift;
    const DOUBLES half = k * 0.5 + shift, rest = (k - (half - shift)) + shift;
    /* ln 2 in two parts, the first with so few bits that its product with k is exact (fdlibm) */
    DOUBLES r = FUSED_DOUBLE(k, zero - 0x1.62e42feep-1, x), sum = zero + terms[0];
    r = FUSED_DOUBLE(k, zero - 0x1.a39ef35793c76p-33, r);
    for (size_t i = 1; i < sizeof terms / sizeof *terms; i++)
        sum = FUSED_DOUBLE(sum, r, zero + terms[i]);
    const NAMED(raw64) one = (NAMED(raw64))(zero + 1);
    sum *= (DOUBLES)(((NAMED(raw64))half << 52) + one);
    return sum * (DOUBLES)(((NAMED(raw64))rest << 52) + one);
}

/* The sums of e^u, of e^v and of e^u (u - v). */
typedef struct {
    DOUBLES of_x, of_y, apart;
} NAMED(likelihoods);

INLINED void NAMED(add_likelihoods)(DOUBLES u, DOUBLES v, NAMED(likelihoods) * all) {
    const DOUBLES weight = NAMED(exponential)(u), zero = {0};
    all->of_x += weight;
    all->of_y += NAMED(exponential)(v);
    all->apart += CHOSEN(NAMED(bits64), weight * (u - v), zero, weight != zero);
}

FUNCTION void NAMED(likelihoods_of_tile)(
    const double *x, const double *y, size_t n, double most_x, double most_y,
    NAMED(likelihoods) * all) {
    const size_t whole = n - n % (LANES / 2);
    for (size_t i = 0; i < whole; i += LANES / 2)
        NAMED(add_likelihoods)
    (NAMED(load_double)(x + i) - most_x, NAMED(load_double)(y + i) - most_y, all);
    if (whole == n)
        return;
    DOUBLES u = (DOUBLES){0} - INFINITY, v = u; /* which weigh nothing */
    for (size_t i = whole; i < n; i++)
        u[i - whole] = x[i] - most_x, v[i - whole] = y[i] - most_y;
    NAMED(add_likelihoods)(u, v, all);
}

/* KL, whether the likeliest is the same, and the reference's margin, of a row from `from` on. */
FUNCTION void NAMED(divergence_of_row)(
    const side_in *x, const side_in *y, size_t from, size_t n, double *kl, double *agree,
    double *margin) {
    IN_REGISTERS double left[TILE];
    IN_REGISTERS double right[TILE];
    const NAMED(top) of_x = NAMED(top_of)(x, from, n), of_y = NAMED(top_of)(y, from, n);
    const int fine = !of_x.nan && !of_y.nan && is_finite(of_x.most) && is_finite(of_y.most);
    NAMED(likelihoods) all = {{0}, {0}, {0}};
    *kl = NAN, *agree = fine && of_x.at == of_y.at;
    *margin = *agree ? 0 : of_x.nan || n < 2 ? NAN : of_x.most - of_x.second;
    if (!fine)
        return;
    for (size_t at = from; at < from + n; at += TILE) {
        const size_t some = SMALLER(from + n - at, (size_t)TILE);
        NAMED(likelihoods_of_tile)(
            NAMED(as_float64)(x, at, some, left), NAMED(as_float64)(y, at, some, right), some,
            of_x.most, of_y.most, &all);
    }
    const double total = NAMED(sum_of)(all.of_x);
    const double logs = __builtin_log(NAMED(sum_of)(all.of_y)) - __builtin_log(total);
    *kl = at_least_zero(NAMED(sum_of)(all.apart) / total + logs); /* rounding may go below 0 */
}

static TARGET void NAMED(divergence)(
    const side_in *x, const side_in *y, size_t rows, size_t n, double *out) {
    for (size_t row = 0; row < rows; row++)
        NAMED(divergence_of_row)(
            x, y, row * n, n, out + row, out + rows + row, out + 2 * rows + row);
}

/* A tile of any numbers: NaN and Inf are left out and counted. Included once for every instruction
   set. */

/* The finite ones of a side, and what is counted of the others. 0: out of range. */
FUNCTION int NAMED(count_side)(const double *x, size_t n, side_sums *out) {
    double fine[TILE], unused;
    size_t found = 0;
    int64_t nan = 0, zeros = 0;
    for (size_t i = 0; i < n; i++) {
        fine[found] = x[i];
        found += x[i] - x[i] == 0;
        nan += x[i] != x[i];
        zeros += x[i] == 0;
    }
    if (found) {
        double low = fine[0], high = fine[0];
        for (size_t i = 0; i < found; i++) {
            low = fine[i] < low ? fine[i] : low;
            high = fine[i] > high ? fine[i] : high;
        }
        if (!in_range(low, high))
            return 0;
        moments m = NAMED(moments64)(fine, fine, found, &unused);
        add_side(out, m.n, low, high, m.mean_x, m.xx);
    }
    out->nan += nan;
    out->inf += n - found - nan;
    out->zeros += zeros;
    return 1;
}

/* Takes a tile in and returns 1, or 0 where squares leave the range of float64. `narrow` says that
   both sides are float32 or less, which decides in which arithmetic tolerances are. */
FUNCTION int NAMED(odd_tile)(
    const double *x, const double *y, size_t n, size_t from, int narrow, pass *out) {
    double fine_x[TILE], fine_y[TILE], sum_abs, top = 0;
    int64_t places[TILE];
    size_t found = 0;
    const float rtol = float32_of(out->rtol), atol = float32_of(out->atol);
    if (!NAMED(count_side)(x, n, &out->reference) || !NAMED(count_side)(y, n, &out->candidate))
        return 0;
    for (size_t i = 0; i < n; i++) {
        double p = x[i], q = y[i];
        int both = p - p == 0 && q - q == 0, alike = p == q || (p != p && q != q);
        int lone = !both && !alike;
        out->equal &= alike;
        out->nonfinite_mismatch += lone;
        out->mismatched += lone;
        if (!both)
            continue;
        fine_x[found] = p;
        fine_y[found] = q;
        places[found] = out->start + (int64_t)(from + i);
        found++;
        out->mismatched += narrow ? outside32((float)p, (float)q, rtol, atol)
                                  : outside64(p, q, out->rtol, out->atol);
    }
    for (size_t i = 0; i < found; i++) {
        double a = __builtin_fabs(fine_y[i] - fine_x[i]), b = __builtin_fabs(fine_x[i]);
        top = a > top ? a : top;
        b = b > RELATIVE_FLOOR ? b : RELATIVE_FLOOR;
        if (a > out->absolute.value)
            out->absolute = (extreme){a, fine_x[i], fine_y[i], places[i]};
        if (a / b > out->relative.value)
            out->relative = (extreme){a / b, fine_x[i], fine_y[i], places[i]};
    }
    if (!in_range(-top, top))
        return 0;
    if (found) {
        moments m = NAMED(moments64)(fine_x, fine_y, found, &sum_abs);
        out->sum_abs += sum_abs;
        add_moments(&out->pair, &m);
    }
    return 1;
}

/* The k-th of numbers that are not negative, by narrowing the range of their bits: no number is
   moved, and counting goes through whole registers. Included once for every instruction set. */

enum {
    NAMED(FEW) = 16,  /* numbers that are put in order instead */
    NAMED(PATCH) = 64 /* numbers that are passed over together where none is wanted */
};

/* How many lie from `low` to `low + span`. */
FUNCTION size_t NAMED(within)(const int64_t *bits, size_t n, int64_t low, uint64_t span) {
    const size_t step = LANES / 2, whole = n - n % (2 * step);
    NAMED(bits64) some = {0}, others = {0}, found;
    for (size_t i = 0; i < whole; i += 2 * step) {
        NAMED(bits64) left, right;
        __builtin_memcpy(&left, bits + i, sizeof left);
        __builtin_memcpy(&right, bits + i + step, sizeof right);
        some += (NAMED(raw64))(left - low) <= span;
        others += (NAMED(raw64))(right - low) <= span;
    }
    found = some + others;
    size_t count = 0;
    for (size_t lane = 0; lane < step; lane++)
        count += (size_t)-found[lane];
    for (size_t i = whole; i < n; i++)
        count += (uint64_t)bits[i] - (uint64_t)low <= span;
    return count;
}

/* The k-th, counted from 0, of the few between two bounds, both included. */
FUNCTION int64_t NAMED(kth_between)(
    const int64_t *bits, size_t n, int64_t low, int64_t high, size_t k) {
    const uint64_t span = (uint64_t)high - (uint64_t)low;
    int64_t some[NAMED(FEW)];
    size_t count = 0;
    for (size_t from = 0; from < n; from += NAMED(PATCH)) {
        const size_t end = n - from < NAMED(PATCH) ? n : from + NAMED(PATCH);
        if (n > NAMED(PATCH) && NAMED(within)(bits + from, end - from, low, span) == 0)
            continue;
        for (size_t i = from; i < end && count < NAMED(FEW); i++) {
            if ((uint64_t)bits[i] - (uint64_t)low > span)
                continue;
            size_t at = count++;
            for (; at > 0 && some[at - 1] > bits[i]; at--)
                some[at] = some[at - 1];
            some[at] = bits[i];
        }
    }
    return k < count ? some[k] : high;
}

/* Every other cut of the range is where the k-th would be if numbers lay evenly in it. */
FUNCTION double NAMED(kth)(const double *values, size_t n, size_t k) {
    const int64_t *bits = (const int64_t *)values;
    int64_t low = bits[0], high = bits[0], found;
    double value;
    size_t below = 0, up_to = n;
    for (size_t i = 1; i < n; i++) {
        low = bits[i] < low ? bits[i] : low;
        high = bits[i] > high ? bits[i] : high;
    }
    const int64_t least = low;
    for (int turn = 0; low < high && up_to - below > NAMED(FEW); turn++) {
        const uint64_t span = (uint64_t)high - (uint64_t)low;
        const double share = turn % 2 ? (k + 0.5 - below) / (up_to - below) : 0.5;
        const uint64_t part = (uint64_t)((double)span * share);
        const int64_t middle = low + (int64_t)(part < span ? part : span - 1);
        const size_t count =
            NAMED(within)(bits, n, least, (uint64_t)middle - (uint64_t)least);
        if (count > k)
            high = middle, up_to = count;
        else
            low = middle + 1, below = count;
    }
    found = low == high ? low : NAMED(kth_between)(bits, n, low, high, k - below);
    __builtin_memcpy(&value, &found, sizeof value);
    return value;
}

/* Half-way between the two in the middle where there is no middle one. */
FUNCTION double NAMED(median)(const double *values, size_t n) {
    const int64_t *bits = (const int64_t *)values;
    double lower = NAMED(kth)(values, n, (n - 1) / 2);
    int64_t known, next = INT64_MAX;
    __builtin_memcpy(&known, &lower, sizeof known);
    if (n % 2 || NAMED(within)(bits, n, 0, (uint64_t)known) > n / 2)
        return lower;
    for (size_t i = 0; i < n; i++)
        next = bits[i] > known && bits[i] < next ? bits[i] : next;
    double upper;
    __builtin_memcpy(&upper, &next, sizeof upper);
    return (lower + upper) / 2;
}

/* The median of those above zero, which are put into `room`; 0 where there are none. */
FUNCTION double NAMED(median_of_some)(const double *values, size_t n, double *room) {
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        room[count] = values[i];
        count += values[i] > 0;
    }
    return count ? NAMED(median)(room, count) : 0;
}

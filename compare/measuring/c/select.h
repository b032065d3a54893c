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

/* Numbers among which the k-th lies: `below` are under `low`, `up_to` not over `high`. */
typedef struct {
    int64_t low, high;
    size_t below, up_to;
} NAMED(range);

/* Cuts a range in two behind `middle` and keeps the half with the k-th. */
FUNCTION void NAMED(cut)(
    const int64_t *bits, size_t n, int64_t least, size_t k, int64_t middle, NAMED(range) * r) {
    const size_t count = NAMED(within)(bits, n, least, (uint64_t)middle - (uint64_t)least);
    if (count > k)
        r->high = middle, r->up_to = count;
    else
        r->low = middle + 1, r->below = count;
}

/* Every other cut is where the k-th would be if numbers lay evenly in the range. */
FUNCTION double NAMED(kth)(const double *values, size_t n, size_t k) {
    const int64_t *bits = (const int64_t *)values;
    NAMED(range) r = {bits[0], bits[0], 0, n};
    double value;
    for (size_t i = 1; i < n; i++) {
        r.low = bits[i] < r.low ? bits[i] : r.low;
        r.high = bits[i] > r.high ? bits[i] : r.high;
    }
    const int64_t least = r.low;
    if (n >= MANY) { /* a sample says nearly where it is */
        double some[MOST_ASKED];
        const size_t size = n / 16 < MOST_ASKED ? n / 16 : MOST_ASKED, near = k / (n / size);
        const size_t apart = size / (size < MOST_ASKED ? 8 : 20); /* about 3 deviations */
        for (size_t i = 0; i < size; i++)
            some[i] = values[i * (n / size)];
        for (int end = 1; end >= 0 && near < size; end--) {
            const size_t at = end ? near + apart : near > apart ? near - apart : 0;
            const double found = NAMED(kth)(some, size, at < size ? at : size - 1);
            int64_t middle;
            __builtin_memcpy(&middle, &found, sizeof middle);
            if (r.low <= middle && middle < r.high)
                NAMED(cut)(bits, n, least, k, middle, &r);
        }
    }
    for (int turn = 0; r.low < r.high && r.up_to - r.below > NAMED(FEW); turn++) {
        const uint64_t span = (uint64_t)r.high - (uint64_t)r.low;
        const double share = turn % 2 ? (k + 0.5 - r.below) / (r.up_to - r.below) : 0.5;
        const uint64_t part = (uint64_t)((double)span * share);
        NAMED(cut)(bits, n, least, k, r.low + (int64_t)(part < span ? part : span - 1), &r);
    }
    if (r.low < r.high)
        r.low = NAMED(kth_between)(bits, n, r.low, r.high, k - r.below);
    __builtin_memcpy(&value, &r.low, sizeof value);
    return value;
}

/* The least of those above one. */
FUNCTION int64_t NAMED(next_above)(const int64_t *bits, size_t n, int64_t known) {
    const size_t step = LANES / 2, whole = n - n % step;
    const NAMED(bits64) none = (NAMED(bits64)){0} + INT64_MAX;
    NAMED(bits64) least = none;
    for (size_t i = 0; i < whole; i += step) {
        NAMED(bits64) own;
        __builtin_memcpy(&own, bits + i, sizeof own);
        own = CHOSEN(NAMED(bits64), own, none, own > (NAMED(bits64)){0} + known);
        least = CHOSEN(NAMED(bits64), own, least, own < least);
    }
    int64_t next = INT64_MAX;
    for (size_t lane = 0; lane < step; lane++)
        next = least[lane] < next ? least[lane] : next;
    for (size_t i = whole; i < n; i++)
        next = bits[i] > known && bits[i] < next ? bits[i] : next;
    return next;
}

/* Half-way between the two in the middle where there is no middle one. */
FUNCTION double NAMED(median)(const double *values, size_t n) {
    const int64_t *bits = (const int64_t *)values;
    double lower = NAMED(kth)(values, n, (n - 1) / 2);
    int64_t known;
    __builtin_memcpy(&known, &lower, sizeof known);
    if (n % 2 || NAMED(within)(bits, n, 0, (uint64_t)known) > n / 2)
        return lower;
    const int64_t next = NAMED(next_above)(bits, n, known);
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

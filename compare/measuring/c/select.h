/* The k-th of numbers that are not negative, by narrowing the range of their bits: no number is
   moved, and counting goes through whole registers. Included once for every instruction set. */

enum {
    NAMED(FEW) = 32,  /* numbers that are compared with each other instead */
    NAMED(PATCH) = 64 /* numbers after which it is looked whether too many were kept */
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

/* Numbers between two bounds, both included, and how many are below. */
typedef struct {
    size_t count, below;
} NAMED(between);

/* Those from `low` to `high`, one after the other, with room for a register behind them. Stops
   where they are more than MOST_KEPT. */
FUNCTION NAMED(between) NAMED(keep_between)(
    const int64_t *bits, size_t n, int64_t low, int64_t high, int64_t *kept) {
    const uint64_t span = (uint64_t)high - (uint64_t)low;
    NAMED(between) all = {0, 0};
    for (size_t i = 0; i < n && all.count <= MOST_KEPT;) {
        const size_t end = n - i < NAMED(PATCH) ? n : i + NAMED(PATCH);
#ifdef KEEP_WITHIN
        for (; i + LANES / 2 <= end; i += LANES / 2)
            all.count += KEEP_WITHIN(bits + i, low, span, kept + all.count, all.below);
#endif
        for (; i < end; i++) {
            kept[all.count] = bits[i];
            all.count += (uint64_t)bits[i] - (uint64_t)low <= span;
            all.below += bits[i] < low;
        }
    }
    return all;
}

/* The k-th of FEW numbers at most between two bounds, counted from the least of these. */
FUNCTION int64_t NAMED(kth_between)(
    const int64_t *bits, size_t n, int64_t low, int64_t high, size_t k) {
    int64_t some[NAMED(FEW) + NAMED(PATCH) + REGISTER] IN_REGISTERS;
    const size_t count = NAMED(keep_between)(bits, n, low, high, some).count;
    for (size_t lane = 0; lane < LANES; lane++)
        some[count + lane] = INT64_MAX;
    for (size_t i = 0; i < count; i++) {
        const NAMED(bits64) own = (NAMED(bits64)){0} + some[i];
        NAMED(bits64) less = {0}, same = {0}, other;
        size_t below = 0, alike = 0;
        for (size_t from = 0; from < count; from += LANES / 2) {
            __builtin_memcpy(&other, some + from, sizeof other);
            less -= other < own;
            same -= other == own;
        }
        for (size_t lane = 0; lane < LANES / 2; lane++) {
            below += (size_t)less[lane];
            alike += (size_t)same[lane];
        }
        if (below <= k && k < below + alike)
            return some[i];
    }
    return high;
}

/* Numbers among which the k-th lies: `below` are under `low`, `up_to` not over `high`. */
typedef struct {
    int64_t low, high;
    size_t below, up_to;
} NAMED(range);

/* The range of all of them. */
FUNCTION NAMED(range) NAMED(range_of)(const int64_t *bits, size_t n) {
    const size_t step = LANES / 2, whole = n - n % step;
    NAMED(range) r = {bits[0], bits[0], 0, n};
    NAMED(bits64) low = (NAMED(bits64)){0} + bits[0], high = low, own;
    for (size_t i = 0; i < whole; i += step) {
        __builtin_memcpy(&own, bits + i, sizeof own);
        low = CHOSEN(NAMED(bits64), own, low, own < low);
        high = CHOSEN(NAMED(bits64), own, high, own > high);
    }
    for (size_t lane = 0; lane < step; lane++) {
        r.low = low[lane] < r.low ? low[lane] : r.low;
        r.high = high[lane] > r.high ? high[lane] : r.high;
    }
    for (size_t i = whole; i < n; i++) {
        r.low = bits[i] < r.low ? bits[i] : r.low;
        r.high = bits[i] > r.high ? bits[i] : r.high;
    }
    return r;
}

/* Cuts a range in two behind `middle` and keeps the half with the k-th. */
FUNCTION void NAMED(cut)(
    const int64_t *bits, size_t n, int64_t least, size_t k, int64_t middle, NAMED(range) * r) {
    const size_t count = NAMED(within)(bits, n, least, (uint64_t)middle - (uint64_t)least);
    if (count > k)
        r->high = middle, r->up_to = count;
    else
        r->low = middle + 1, r->below = count;
}

/* Cuts a range behind that share of it. */
FUNCTION void NAMED(cut_share)(
    const int64_t *bits, size_t n, int64_t least, size_t k, double share, NAMED(range) * r) {
    const uint64_t span = (uint64_t)r->high - (uint64_t)r->low;
    const uint64_t part = (uint64_t)((double)span * share);
    NAMED(cut)(bits, n, least, k, r->low + (int64_t)(part < span ? part : span - 1), r);
}

/* Cuts a range behind one of the numbers and before it: what many of them are is found so. */
FUNCTION void NAMED(cut_around)(
    const int64_t *bits, size_t n, int64_t least, size_t k, int64_t one, NAMED(range) * r) {
    if (r->low <= one && one < r->high)
        NAMED(cut)(bits, n, least, k, one, r);
    if (r->low < one && one == r->high)
        NAMED(cut)(bits, n, least, k, one - 1, r);
}

/* Cuts until `few` are left, at most. They are taken to lie evenly in the range: two cuts go beside
   the place where the k-th would be then; in case they do not, others follow in the middle and
   around one of them. */
FUNCTION void NAMED(narrow_down)(
    const int64_t *bits, size_t n, int64_t least, size_t k, size_t few, NAMED(range) * r) {
    for (int turn = 0; r->low < r->high && r->up_to - r->below > few; turn++) {
        const double count = (double)(r->up_to - r->below);
        const double share = ((double)(k - r->below) + 0.5) / count;
        const double aside = 1.5 * __builtin_sqrt(share * (1 - share) / count) + 2 / count;
        if (turn % 3 == 2) {
            NAMED(cut_share)(bits, n, least, k, 0.5, r);
            NAMED(cut_around)(bits, n, least, k, bits[(size_t)turn * SCATTERED % n], r);
        } else if (turn % 3 == 0 ? share < 0.5 : share >= 0.5) /* leaves out most at first */
            NAMED(cut_share)(bits, n, least, k, share + aside < 1 ? share + aside : 0.5, r);
        else
            NAMED(cut_share)(bits, n, least, k, share > aside ? share - aside : 0.5, r);
    }
}

/* Two numbers that a sample says the k-th lies between, nearly always: within three deviations. */
FUNCTION NAMED(range) NAMED(ask_sample)(const int64_t *bits, size_t n, size_t k) {
    int64_t some[MOST_ASKED] IN_REGISTERS;
    const size_t size = n / 16 < MOST_ASKED ? n / 16 : MOST_ASKED, near = k / (n / size);
    const size_t apart = (size_t)(1.5 * __builtin_sqrt((double)size)) + 1;
    for (size_t i = 0; i < size; i++)
        some[i] = bits[i * (n / size)];
    const NAMED(range) all = NAMED(range_of)(some, size);
    NAMED(range) under = all, over = all, found = {0, INT64_MAX, 0, n};
    if (near > apart) {
        NAMED(narrow_down)(some, size, all.low, SMALLER(near - apart, size - 1), apart / 4, &under);
        found.low = under.low;
    }
    if (near + apart < size) {
        NAMED(narrow_down)(some, size, all.low, near + apart, apart / 4, &over);
        found.high = over.high;
    }
    return found;
}

/* The k-th, and the next one where `next` is wanted. */
FUNCTION double NAMED(kth_and_next)(const double *values, size_t n, size_t k, double *next) {
    const int64_t *bits = (const int64_t *)values;
    int64_t kept[MOST_KEPT + NAMED(PATCH) + REGISTER] IN_REGISTERS, found;
    NAMED(range) r = {0, INT64_MAX, 0, n};
    double value;
    if (n >= MANY) {
        r = NAMED(ask_sample)(bits, n, k);
        const NAMED(between) all = NAMED(keep_between)(bits, n, r.low, r.high, kept);
        const size_t last = next ? k + 1 : k;
        if (all.count <= MOST_KEPT && all.below <= k && last < all.below + all.count) {
            bits = kept;
            k -= all.below;
            r.up_to = n = all.count;
        }
    }
    const NAMED(range) asked = r;
    if (bits != kept)
        r = NAMED(range_of)(bits, n);
    const int64_t least = r.low;
    if (bits != kept && n >= MANY) { /* many are alike */
        NAMED(cut_around)(bits, n, least, k, asked.low, &r);
        NAMED(cut_around)(bits, n, least, k, asked.high, &r);
    }
    NAMED(narrow_down)(bits, n, least, k, NAMED(FEW), &r);
    found = r.low < r.high ? NAMED(kth_between)(bits, n, r.low, r.high, k - r.below) : r.low;
    __builtin_memcpy(&value, &found, sizeof value);
    if (next) {
        const size_t up_to = NAMED(within)(bits, n, least, (uint64_t)found - (uint64_t)least);
        const int64_t other = up_to > k + 1 ? found : NAMED(next_above)(bits, n, found);
        __builtin_memcpy(next, &other, sizeof other);
    }
    return value;
}

FUNCTION double NAMED(kth)(const double *values, size_t n, size_t k) {
    return NAMED(kth_and_next)(values, n, k, NULL);
}

/* Half-way between the two in the middle where there is no middle one. */
FUNCTION double NAMED(median)(const double *values, size_t n) {
    double upper;
    if (n % 2)
        return NAMED(kth)(values, n, n / 2);
    const double lower = NAMED(kth_and_next)(values, n, n / 2 - 1, &upper);
    return lower == upper ? lower : (lower + upper) / 2;
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

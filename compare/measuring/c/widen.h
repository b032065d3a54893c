/* A tile's elements as float32, or as float64; included once for every instruction set. */

FUNCTION inline const void *NAMED(raw_at)(const side_in *side, size_t at) {
    static const size_t sizes[] = {
        [FLOAT32] = 4, [FLOAT64] = 8, [FLOAT16] = 2, [BFLOAT16] = 2, [BYTES] = 1};
    return (const char *)side->data + at * sizes[side->kind];
}

FUNCTION const float *NAMED(as_float32)(const side_in *side, size_t from, size_t n, float *room) {
    uint32_t *bits = (uint32_t *)room;
    switch (side->kind) {
    case FLOAT32:
        return (const float *)side->data + from;
    case BFLOAT16: {
        const uint16_t *raw = (const uint16_t *)side->data + from;
        for (size_t i = 0; i < n; i++)
            bits[i] = (uint32_t)raw[i] << 16;
        return room;
    }
    case FLOAT16: {
        /* The exponent is moved by a product, which makes numbers of what float16 has as denormals;
           Inf and NaN get float32's greatest exponent (Giesen, "Half to float done quick"). */
        const uint16_t *raw = (const uint16_t *)side->data + from;
        for (size_t i = 0; i < n; i++)
            bits[i] = (uint32_t)(raw[i] & 0x7fff) << 13;
        for (size_t i = 0; i < n; i++)
            room[i] *= 0x1p112f;
        for (size_t i = 0; i < n; i++) {
            uint32_t special = (raw[i] & 0x7c00) == 0x7c00 ? 0x7f800000u : 0;
            bits[i] |= special | (uint32_t)(raw[i] & 0x8000) << 16;
        }
        return room;
    }
    case BYTES: {
        const uint8_t *raw = (const uint8_t *)side->data + from;
        for (size_t i = 0; i < n; i++)
            room[i] = side->table[raw[i]];
        return room;
    }
    case FLOAT64:
        break;
    }
    return NULL; /* which are never asked for */
}

FUNCTION const double *NAMED(as_float64)(const side_in *side, size_t from, size_t n, double *room) {
    float narrow[TILE];
    if (side->kind == FLOAT64)
        return (const double *)side->data + from;
    const float *values = NAMED(as_float32)(side, from, n, narrow);
    for (size_t i = 0; i < n; i++)
        room[i] = values[i];
    return room;
}

/* How many of 16 bits have none set but the sign. */
FUNCTION int64_t NAMED(zeros_of_words)(const uint16_t *raw, size_t n) {
    enum { STEP = 2 * LANES, MOST = INT16_MAX * STEP }; /* a lane counts no further */
    int64_t found = 0;
    for (size_t from = 0; from < n; from += MOST) {
        const size_t some = n - from < MOST ? n - from : MOST, whole = some - some % STEP;
        NAMED(pairs16) zeros = {0}, own;
        for (size_t i = 0; i < whole; i += STEP) {
            __builtin_memcpy(&own, raw + from + i, sizeof own);
            zeros -= (NAMED(pairs16))((own & 0x7fff) == 0);
        }
        for (int lane = 0; lane < STEP; lane++)
            found += zeros[lane];
        for (size_t i = whole; i < some; i++)
            found += (raw[from + i] & 0x7fff) == 0;
    }
    return found;
}

/* How many elements are zero, of either sign. */
FUNCTION int64_t NAMED(zeros_of)(const side_in *side, size_t from, size_t n) {
    float room[TILE];
    int64_t found = 0;
    if (side->kind == FLOAT16 || side->kind == BFLOAT16)
        return NAMED(zeros_of_words)((const uint16_t *)side->data + from, n);
    for (size_t at = 0; at < n; at += TILE) {
        const size_t some = n - at < TILE ? n - at : TILE;
        const float *values = NAMED(as_float32)(side, from + at, some, room);
        int count = 0;
        for (size_t i = 0; i < some; i++)
            count += values[i] == 0;
        found += count;
    }
    return found;
}

/* Rows of a weight times columns of inputs, and the sums of their squares, for one instruction set.
   Elements are widened in the cache, a short run of inputs at a time. */

typedef float NAMED(loose) __attribute__((vector_size(4 * LANES), aligned(4)));
#define AT(pointer) (*(const NAMED(loose) *)(pointer))
#define PUT(pointer) (*(NAMED(loose) *)(pointer))

/* `count` rows, `vectors` registers wide, over n inputs, added to what `out` has. */
static inline __attribute__((always_inline)) TARGET void NAMED(tile_products)(
    const float *const *rows, size_t count, size_t n, const float *x, size_t columns, float *out,
    const int vectors) {
    FLOATS sum[WEIGHT_ROWS][2];
    for (size_t r = 0; r < WEIGHT_ROWS; r++)
        for (int v = 0; v < vectors; v++)
            sum[r][v] = r < count ? AT(out + r * columns + v * LANES) : (FLOATS){0};
    for (size_t k = 0; k < n; k++, x += columns) {
        FLOATS some[2];
        for (int v = 0; v < vectors; v++)
            some[v] = AT(x + v * LANES);
        for (size_t r = 0; r < WEIGHT_ROWS; r++) {
            FLOATS w = rows[r][k] - (FLOATS){0};
            for (int v = 0; v < vectors; v++)
                sum[r][v] = FUSED(w, some[v], sum[r][v]);
        }
    }
    for (size_t r = 0; r < count; r++)
        for (int v = 0; v < vectors; v++)
            PUT(out + r * columns + v * LANES) = sum[r][v];
}

/* The sums over n inputs of w^2 times each of two m, added to what `sum` has. */
static inline __attribute__((always_inline)) TARGET void NAMED(weighted_squares)(
    const float *w, const float *m, const float *other, size_t n, float *sum, const int both) {
    FLOATS some[2][2] = {{{0}, {0}}, {{0}, {0}}};
    size_t k = 0;
    for (; k + 2 * LANES <= n; k += 2 * LANES) {
        FLOATS left = AT(w + k), right = AT(w + k + LANES);
        left *= left;
        right *= right;
        some[0][0] = FUSED(left, AT(m + k), some[0][0]);
        some[0][1] = FUSED(right, AT(m + k + LANES), some[0][1]);
        if (both) {
            some[1][0] = FUSED(left, AT(other + k), some[1][0]);
            some[1][1] = FUSED(right, AT(other + k + LANES), some[1][1]);
        }
    }
    for (int which = 0; which <= both; which++) {
        some[which][0] += some[which][1];
        for (int i = 0; i < LANES; i++)
            sum[which] += some[which][0][i];
    }
    for (; k < n; k++) {
        sum[0] += w[k] * w[k] * m[k];
        if (both)
            sum[1] += w[k] * w[k] * other[k];
    }
}

FUNCTION void NAMED(add_squares)(const float *w, size_t n, float *sum) {
    size_t k = 0;
    for (; k + LANES <= n; k += LANES)
        PUT(sum + k) = FUSED(AT(w + k), AT(w + k), AT(sum + k));
    for (; k < n; k++)
        sum[k] += w[k] * w[k];
}

/* A run of inputs of one row: widened, and its squares summed. */
FUNCTION const float *NAMED(weigh_run)(
    const weighing *all, size_t row, size_t from, size_t n, float *room) {
    const size_t inside = all->inside;
    const float *w = NAMED(as_float32)(&all->weight, row * inside + from, n, room);
    const float *mean = all->mean + from;
    float *sum = all->by_channel + row * all->means;
    size_t m = 0;
    for (; m + 2 <= all->means; m += 2)
        NAMED(weighted_squares)(w, mean + m * inside, mean + (m + 1) * inside, n, sum + m, 1);
    if (m < all->means)
        NAMED(weighted_squares)(w, mean + m * inside, NULL, n, sum + m, 0);
    if (row % all->step == all->telling)
        NAMED(add_squares)(w, n, all->by_input + from);
    return w;
}

/* Products of up to WEIGHT_ROWS rows with all columns, over n inputs. */
FUNCTION void NAMED(group_products)(
    const weighing *all, const float *const *rows, size_t count, size_t n, const float *x,
    float *out) {
    const size_t columns = all->columns;
    size_t column = 0;
    for (; column + 2 * LANES <= columns; column += 2 * LANES)
        NAMED(tile_products)(rows, count, n, x + column, columns, out + column, 2);
    for (; column < columns; column += LANES)
        NAMED(tile_products)(rows, count, n, x + column, columns, out + column, 1);
}

static TARGET void NAMED(weigh)(const weighing *all) {
    float room[WEIGHT_CHUNK][WEIGHT_RUN];
    const float *wide[WEIGHT_CHUNK], *rows[WEIGHT_ROWS];
    const size_t inside = all->inside, columns = all->columns;
    for (size_t from = 0; from < inside; from += WEIGHT_RUN) {
        size_t n = inside - from < WEIGHT_RUN ? inside - from : WEIGHT_RUN;
        for (size_t first = 0; first < all->rows; first += WEIGHT_CHUNK) {
            size_t count = all->rows - first < WEIGHT_CHUNK ? all->rows - first : WEIGHT_CHUNK;
            for (size_t r = 0; r < count; r++)
                wide[r] = NAMED(weigh_run)(all, first + r, from, n, room[r]);
            for (size_t k = 0; k < n; k += WEIGHT_PART) {
                size_t part = n - k < WEIGHT_PART ? n - k : WEIGHT_PART;
                const float *x = all->x + (from + k) * columns;
                for (size_t r = 0; r < count; r += WEIGHT_ROWS) {
                    size_t some = count - r < WEIGHT_ROWS ? count - r : WEIGHT_ROWS;
                    for (size_t i = 0; i < WEIGHT_ROWS; i++)
                        rows[i] = wide[r + (i < some ? i : 0)] + k;
                    NAMED(group_products)(
                        all, rows, some, part, x, all->value + (first + r) * columns);
                }
            }
        }
    }
}

#undef AT
#undef PUT

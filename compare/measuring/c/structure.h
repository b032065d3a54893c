/* All that is asked of a sample at once: its evened sums, the fits to them, what stands at an end,
   and the grids of some of its numbers; what error_structure.py puts together call by call. */

#ifndef LAYERTUI_STRUCTURE_H
#define LAYERTUI_STRUCTURE_H

#include <stdint.h>
#include <string.h>

#include "evening.h"
#include "grid.h"

typedef struct {
    evening even;
    fits_of fits;
    size_t step;        /* of so many numbers one is looked at for its grid */
    int count_values;   /* whether different ones of these are counted */
    int coarse;         /* bits of mantissa that they are rounded to at the coarsest */
    double blocked;     /* a sample that reaches down to it may be a mask's, and is not for here */
    double beyond;      /* as `saturated` has it */
    int narrow;         /* whether the sample is kept as float32, which its numbers are */
    void *numbers[2];   /* the sample, x and y */
    void *some[2];      /* those that are looked at */
    double *wide;       /* these of one side, where they are float32 */
    uint64_t *table;    /* for the different ones */
} structure_in;

typedef struct {
    int whole; /* 0: only `plain` says something */
    double plain[7];
    double even_error; /* squares of the evened difference in those of the evened reference */
    double fits[OF_FITS];
    int64_t saturated, distinct[2];
    int bits[2];
} structure_out;

/* How many numbers a step leaves. */
static inline size_t some_of(size_t count, size_t step) {
    return (count + step - 1) / step;
}

/* The next `size` float64 of a room, begun at a whole register; NULL where they are only counted. */
static double *next_of(double *room, size_t *at, size_t size) {
    double *found = room ? room + *at : NULL;
    *at += padded_to_registers(size);
    return found;
}

/* How many float64 the room has, and what is where in it: `even` has its sizes already. */
static size_t lay_out_structure(structure_in *in, structure_out *out, double *room) {
    evening *even = &in->even;
    fits_of *fits = &in->fits;
    const size_t rows = even->rows, channels = even->channels, groups = rows * even->pieces;
    const size_t count = rows * channels, some = some_of(count, in->step);
    size_t at = 0;
    even->x = in->numbers[0] = next_of(room, &at, in->narrow ? (count + 1) / 2 : count);
    even->y = in->numbers[1] = next_of(room, &at, in->narrow ? (count + 1) / 2 : count);
    lay_out(even, next_of(room, &at, lay_out(even, NULL)));
    fits->by_row = even->by_row = next_of(room, &at, 5 * rows);
    fits->by_channel = even->by_channel = next_of(room, &at, OF_CHANNEL * channels);
    fits->by_group = even->by_group = next_of(room, &at, 5 * groups);
    fits->room = next_of(room, &at, room_of_fits(rows, channels, groups));
    in->some[0] = next_of(room, &at, some);
    in->some[1] = next_of(room, &at, some);
    in->wide = next_of(room, &at, some);
    in->table = (uint64_t *)next_of(room, &at, (size_t)1 << slot_bits_for(some));
    even->plain = out->plain;
    fits->out = out->fits;
    fits->rows = rows, fits->channels = channels, fits->groups = groups;
    fits->group_size = even->length;
    return at;
}

/* Different ones of those of a side that are looked at, which are float32, rounded. */
static int64_t different_of_seen(
    const structure_in *in, int side, size_t some, int kept, const some_seen *seen) {
    const float *values = in->some[side];
    if (seen->coarse >= 0 && kept >= COARSE) /* rounding would change nothing */
        return seen->coarse;
    for (size_t i = 0; i < some; i++)
        in->wide[i] = values[i];
    return different(in->wide, some, kept, in->table);
}

/* Every step-th number of float32, and what it is asked for. */
static void look_at_floats(const instruction_set *set, const structure_in *in, structure_out *out) {
    const size_t count = in->even.rows * in->even.channels, some = some_of(count, in->step);
    some_seen seen[2];
    for (int side = 0; side < 2; side++) {
        set->look_at(in->numbers[side], some, in->step, in->some[side], &seen[side]);
        out->bits[side] = bits_of_seen(&seen[side]);
    }
    if (!in->count_values)
        return;
    const int least = SMALLER(out->bits[0], out->bits[1]);
    out->distinct[0] = different_of_seen(in, 0, some, LARGER(least, in->coarse), &seen[0]);
    out->distinct[1] = different_of_seen(in, 1, some, MANTISSA64, &seen[1]);
}

/* The same of float64. */
static void look_at_doubles(const structure_in *in, structure_out *out) {
    const size_t count = in->even.rows * in->even.channels, some = some_of(count, in->step);
    for (int side = 0; side < 2; side++) {
        const double *values = in->numbers[side];
        double *to = in->some[side];
        for (size_t i = 0; i < some; i++)
            to[i] = values[i * in->step];
        out->bits[side] = bits_needed(to, some);
    }
    if (!in->count_values)
        return;
    const int least = SMALLER(out->bits[0], out->bits[1]);
    out->distinct[0] = different(in->some[0], some, LARGER(least, in->coarse), in->table);
    out->distinct[1] = different(in->some[1], some, MANTISSA64, in->table);
}

static void find_structure(const instruction_set *set, structure_in *in, structure_out *out) {
    const evening *even = &in->even;
    const size_t rows = even->rows;
    double xx = 0, dd = 0;
    (in->narrow ? set->even_float : set->even)(even);
    const double *plain = out->plain;
    out->whole = plain[0] > 0 && plain[0] - plain[0] == 0 && plain[2] - plain[2] == 0 &&
                 plain[3] > in->blocked;
    if (!out->whole)
        return;
    for (size_t r = 0; r < rows; r++) {
        xx += even->by_row[r];
        dd += even->by_row[rows + r];
    }
    out->even_error = dd / xx;
    set->fits(&in->fits);
    out->saturated = (in->narrow ? set->saturated_float : set->saturated)(
        even->x, even->y, rows * even->channels, plain + 3, in->beyond);
    if (in->narrow)
        look_at_floats(set, in, out);
    else
        look_at_doubles(in, out);
}

#endif

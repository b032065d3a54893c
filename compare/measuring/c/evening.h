/* What the sums of an evened sample are made of, and where they go; the meaning of every number is
   in even_sample.py. */

#ifndef LAYERTUI_EVENING_H
#define LAYERTUI_EVENING_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define SMALLER(a, b) ((a) < (b) ? (a) : (b))
#define LARGER(a, b) ((a) > (b) ? (a) : (b))

typedef struct {
    double massive, massive_row, massive_channel, small_channel; /* see limits.py */
} evening_limits;

typedef struct {
    const void *x, *y;         /* [rows, channels], finite: float64, or float32 */
    size_t rows, channels;
    size_t cut;                /* of a channel's greatest values, left out of its size */
    size_t fewest;             /* rows from which on channels have a size of their own */
    size_t pieces, length;     /* of a row: groups of elements for the common fit */
    evening_limits limits;
    double *even_x, *even_d;   /* [rows, channels]: x and y - x, evened */
    double *room;              /* three times channels, the greater of these and rows, and rows */
    double *of_rows;           /* [6, rows]: x, r, xx, xr, rr, dd, r = d - slope x */
    double *by_row;            /* [5, rows]: xx, dd, greatest dd, xr, rr */
    double *by_channel;        /* [8, channels]: xx, dd, greatest dd, x, r, xr, rr; dd not evened */
    double *by_group;          /* [5, rows * pieces]: x, d, xx, xd, dd */
    double *plain;             /* [7], not evened: xx, xd, dd; least and greatest of x, then of y */
} evening;

typedef void even_function(const evening *);

/* The k-th smallest, counted from 0, of n numbers that are not negative. */
typedef double kth_function(const double *, size_t n, size_t k);

/* What fits to these sums need, and where their numbers go; see fits.py. */
typedef struct {
    const double *by_row, *by_channel, *by_group; /* as above */
    size_t rows, channels, groups, group_size;
    int slopes_of_rows, of_channels; /* whether there are elements enough for these fits */
    size_t long_from;                /* elements from which on the greatest one is left out */
    double most;                     /* of a ratio */
    double of_mean, of_spread;       /* from medians to standard errors */
    double *room;
    double *out; /* three parts; factor, offset, each with its error; errors of rows, of channels
                    (median, greatest, place); a channel's excess */
} fits_of;

typedef void fits_function(const fits_of *);

typedef int64_t saturated_function(
    const void *x, const void *y, size_t n, const double *ends, double beyond);

#define ALIKE_ENOUGH 1e-9 /* of a number: fits.py has the same */
#define LOST 1e-15 /* of the terms of a difference: what float64 cannot tell from zero */

/* The squares of r - slope x, from sums of xx, xr and rr: no less than what these can tell. */
static inline double rest_of(double xx, double xr, double rr, double slope) {
    const double both = 2 * slope * xr, rest = rr - both + slope * slope * xx;
    const double least = rest == 0 ? 0 : LOST * (rr + (both < 0 ? -both : both));
    return rest > least ? rest : least;
}

enum {
    OF_ROW = 6, /* sums along a row, and along a channel */
    OF_CHANNEL = 8,
    OF_PART = 5,               /* numbers that tell of one kind of fit */
    OF_FITS = 3 * OF_PART + 11, /* and of all */
    REGISTER = 8,              /* float64 in the widest register */
    MOST_CUT = 32, /* numbers that are kept in order for many channels at once */
    BAND = 128,    /* channels that are looked at together */
    MANY = 1 << 9,    /* numbers of which a sample is looked at first to find the k-th */
    MOST_ASKED = 1024, /* numbers of such a sample */
    MOST_KEPT = 2048,  /* numbers that are put aside to look for the k-th among them */
    SCATTERED = 7919   /* a prime: its multiples lie all over a table */
};

static inline size_t padded_to_registers(size_t n) {
    return (n + REGISTER - 1) / REGISTER * REGISTER;
}

/* The arrays in `room`: two tables, and what follows them; how many float64 these are. */
static size_t lay_out(evening *all, double *room) {
    const size_t rows = all->rows, channels = all->channels, count = rows * channels;
    all->even_x = room;
    all->even_d = room ? room + count : NULL;
    all->room = room ? room + 2 * count : NULL;
    all->of_rows = room ? all->room + 3 * channels + LARGER(rows, channels) + rows : NULL;
    return 2 * count + (OF_ROW + 1) * rows + 3 * channels + LARGER(rows, channels);
}

/* Sums begin with nothing, but those along channels, which are put there when they are complete. */
static void clear_sums(const evening *all) {
    memset(all->by_row, 0, 5 * all->rows * sizeof(double));
    memset(all->by_group, 0, 5 * all->rows * all->pieces * sizeof(double));
    memset(all->of_rows, 0, OF_ROW * all->rows * sizeof(double));
}

/* How many float64 `fits_of.room` has. */
static inline size_t room_of_fits(size_t rows, size_t channels, size_t groups) {
    const size_t sizes[] = {
        4 * padded_to_registers(rows), 3 * channels + 4 * padded_to_registers(channels),
        5 * groups};
    size_t most = sizes[0];
    for (int i = 1; i < 3; i++)
        most = sizes[i] > most ? sizes[i] : most;
    return most;
}

#endif

/* What the sums of an evened sample are made of, and where they go; the meaning of every number is
   in even_sample.py. */

#ifndef LAYERTUI_EVENING_H
#define LAYERTUI_EVENING_H

#include <stddef.h>

typedef struct {
    double massive, massive_row, massive_channel, small_channel; /* see limits.py */
} evening_limits;

typedef struct {
    const double *x, *y;       /* [rows, channels], finite */
    size_t rows, channels;
    size_t cut;                /* of a channel's greatest values, left out of its size */
    size_t fewest;             /* rows from which on channels have a size of their own */
    size_t pieces, length;     /* of a row: groups of elements for the common fit */
    evening_limits limits;
    double *even_x, *even_d;   /* [rows, channels]: x and y - x, evened */
    double *room;              /* twice channels, rows, and the greater of the two */
    double *by_row;            /* [5, rows]: xx, dd, greatest dd, xr, rr */
    double *by_channel;        /* [7, channels]: xx, dd, greatest dd, x, r, xr, rr */
    double *by_group;          /* [5, rows * pieces]: x, d, xx, xd, dd */
} evening;

typedef void even_function(const evening *);

/* The k-th smallest, counted from 0, of n numbers that are not negative. */
typedef double kth_function(const double *, size_t n, size_t k);

enum {
    MOST_CUT = 32, /* numbers that are kept in order for many channels at once */
    BAND = 64,     /* channels that are looked at together */
    MANY = 1 << 14 /* numbers of which a sample is looked at first to find the k-th */
};

#endif

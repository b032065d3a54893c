/* Merging moments, by the formula of Chan, Golub and LeVeque (1979). */

#ifndef LAYERTUI_MERGE_H
#define LAYERTUI_MERGE_H

#include "pass.h"

static void add_moments(moments *all, const moments *tile) {
    if (tile->n == 0)
        return;
    double share = tile->n / (all->n + tile->n), weight = all->n * share;
    double x = tile->mean_x - all->mean_x, y = tile->mean_y - all->mean_y;
    double d = tile->mean_d - all->mean_d;
    all->xx += tile->xx + x * x * weight;
    all->yy += tile->yy + y * y * weight;
    all->dd += tile->dd + d * d * weight;
    all->xy += tile->xy + x * y * weight;
    all->xd += tile->xd + x * d * weight;
    all->mean_x += x * share;
    all->mean_y += y * share;
    all->mean_d += d * share;
    all->n += tile->n;
}

static void add_side(side_sums *all, double n, double low, double high, double mean, double squares) {
    if (n == 0)
        return;
    double share = n / (all->n + n), gap = mean - all->mean;
    all->squares += squares + gap * gap * all->n * share;
    all->mean += gap * share;
    all->n += n;
    all->low = low < all->low ? low : all->low;
    all->high = high > all->high ? high : all->high;
}

#endif

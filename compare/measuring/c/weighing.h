/* What a pass over rows of a weight is given, and where its sums go; they are added to what is
   there. The meaning of every number is in laws/linear/fused_products.py. */

#ifndef LAYERTUI_WEIGHING_H
#define LAYERTUI_WEIGHING_H

#include <stddef.h>

#include "pass.h"

#define WIDEST 16       /* float32 in a register: columns come in multiples of it */
#define WEIGHT_ROWS 6     /* at a time: with two registers each, as many sums as registers hold */
#define WEIGHT_CHUNK 24  /* rows that are widened together */
#define WEIGHT_RUN 1024  /* inputs of them: 96 KiB, which the second-level cache holds */
#define WEIGHT_PART 256  /* inputs whose columns the first-level cache holds */

typedef struct {
    side_in weight;     /* [rows, inside] */
    size_t rows, inside, columns, means;
    const float *x;     /* [inside, columns] */
    const float *mean;  /* [means, inside] */
    float *value;       /* [rows, columns] */
    float *by_channel;  /* [rows, means] */
    float *by_input;    /* [inside], of every `step`th row from `telling` on */
    size_t telling, step;
} weighing;

typedef void weigh_function(const weighing *);

#endif

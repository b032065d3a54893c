/* A block of two files, read piece by piece into a room that stays in the cache. */

#ifndef LAYERTUI_FILES_H
#define LAYERTUI_FILES_H

#include <errno.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#include "pass.h"

typedef struct {
    int descriptor;
    int64_t offset;
    size_t item;  /* bytes of an element */
    side_in side; /* `data` is where a piece is read to */
} side_file;

enum outcome { TAKEN_IN = 0, FOR_NUMPY = 1, UNREADABLE, TOO_SHORT };

/* All of a piece. `UNREADABLE` leaves the reason in errno. */
static enum outcome read_piece(const side_file *file, char *room, int64_t offset, size_t length) {
    while (length) {
        ssize_t got = pread(file->descriptor, room, length, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got < 0 ? UNREADABLE : TOO_SHORT;
        room += got;
        offset += got;
        length -= (size_t)got;
    }
    return TAKEN_IN;
}

static double seconds_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* `room` is as long for each side. What `out` has of the first of `count` pairs is gone on with, so
   that the sums do not depend on where time was over. Pieces are begun for so many seconds; one
   always is. */
static enum outcome sums_of_pieces(
    block_function *run, side_file *x, side_file *y, char *room, size_t each, size_t count,
    double seconds, pass *out) {
    const double until = seconds_now() + seconds;
    const size_t widest = x->item > y->item ? x->item : y->item, most = each / widest;
    x->side.data = room;
    y->side.data = room + each;
    const side_sums *taken = &out->reference;
    const size_t first = (size_t)(taken->n + taken->nan + taken->inf);
    for (size_t from = first; from < count; from += most) {
        const size_t n = count - from < most ? count - from : most;
        if (from > first && seconds_now() > until)
            break;
        enum outcome found = read_piece(
            x, room, x->offset + (int64_t)(from * x->item), n * x->item);
        if (!found)
            found = read_piece(
                y, room + each, y->offset + (int64_t)(from * y->item), n * y->item);
        if (found)
            return found;
        out->start = (int64_t)from;
        if (run(&x->side, &y->side, n, out))
            return FOR_NUMPY;
    }
    return TAKEN_IN;
}

#endif

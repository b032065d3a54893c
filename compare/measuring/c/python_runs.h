/* What Python calls to read runs of elements; a part of module.c. */

/* Every run is its first element and how many there are. `widen` makes numbers of `size` bytes of
   them, for which `out` has place. */
static enum outcome runs_of_file(
    side_file *file, const int64_t *runs, size_t count, char *room, size_t most,
    widen_function *widen, size_t size, char *out) {
    file->side.data = room;
    for (size_t at = 0; at < count; at++) {
        int64_t from = runs[2 * at];
        for (size_t left = (size_t)runs[2 * at + 1]; left;) {
            const size_t n = left < most ? left : most;
            const enum outcome found = read_piece(
                file, room, file->offset + from * (int64_t)file->item, n * file->item);
            if (found)
                return found;
            widen(&file->side, n, out);
            out += n * size;
            from += (int64_t)n;
            left -= n;
        }
    }
    return TAKEN_IN;
}

/* Whether they fill `n` elements. */
static int runs_fill(const int64_t *runs, size_t count, int64_t n) {
    for (size_t at = 0; at < count; at++) {
        if (runs[2 * at] < 0 || runs[2 * at + 1] < 0 || runs[2 * at + 1] > n)
            return 0;
        n -= runs[2 * at + 1];
    }
    return n == 0;
}

/* Whether this is no room for pieces of a file. */
static int no_pieces(const Py_buffer *room) {
    return (uintptr_t)room->buf % 8 || room->len < 8;
}

static PyObject *read_runs(PyObject *self, PyObject *args) {
    (void)self;
    const char *kind, *wanted;
    Py_buffer table = {0}, runs = {0}, room = {0}, out = {0};
    side_file file = {0};
    long long offset;
    if (!PyArg_ParseTuple(
            args, "iLsy*y*w*w*z", &file.descriptor, &offset, &kind, &table, &runs, &room, &out,
            &wanted))
        return NULL;
    PyObject *result = NULL;
    const instruction_set *set = find_set(wanted);
    const size_t count = runs.len / (2 * sizeof(int64_t)), numbers = out.len / sizeof(double);
    if (!set)
        PyErr_SetString(PyExc_ValueError, "this processor has no such instructions");
    else if (
        offset < 0 || no_pieces(&room) || !runs_fill(runs.buf, count, (int64_t)numbers))
        PyErr_SetString(PyExc_ValueError, "no such runs of a file, or no room for them");
    else if (
        find_kind(kind, &table, &file.side, &file.item) && holds64(&out, numbers) &&
        holds64(&runs, 2 * count)) {
        enum outcome outcome;
        int reason;
        file.offset = offset;
        Py_BEGIN_ALLOW_THREADS
        outcome = runs_of_file(
            &file, runs.buf, count, room.buf, room.len / file.item, set->widen,
            sizeof(double), out.buf);
        reason = errno;
        Py_END_ALLOW_THREADS
        result = outcome == TAKEN_IN ? Py_BuildValue("") : result_of(outcome, reason, NULL);
    }
    Py_buffer *buffers[] = {&table, &runs, &room, &out};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++)
        PyBuffer_Release(buffers[i]);
    return result;
}

/* Whether two stretches of files hold the same bytes. */
static PyObject *same_bytes(PyObject *self, PyObject *args) {
    (void)self;
    Py_buffer room = {0};
    side_file x = {0}, y = {0};
    long long offset_x, offset_y, count;
    if (!PyArg_ParseTuple(
            args, "iLiLLw*", &x.descriptor, &offset_x, &y.descriptor, &offset_y, &count, &room))
        return NULL;
    PyObject *result = NULL;
    const size_t each = (size_t)room.len / 2;
    if (count < 0 || offset_x < 0 || offset_y < 0 || each == 0)
        PyErr_SetString(PyExc_ValueError, "no such pieces of files, or no room for them");
    else {
        enum outcome outcome = TAKEN_IN;
        int reason = 0, same = 1;
        char *left = room.buf, *right = left + each;
        Py_BEGIN_ALLOW_THREADS
        for (long long at = 0; at < count && same && !outcome; at += (long long)each) {
            const size_t n = count - at < (long long)each ? (size_t)(count - at) : each;
            outcome = read_piece(&x, left, offset_x + at, n);
            if (!outcome)
                outcome = read_piece(&y, right, offset_y + at, n);
            reason = errno;
            same = !outcome && memcmp(left, right, n) == 0;
        }
        Py_END_ALLOW_THREADS
        result = outcome == TAKEN_IN ? PyBool_FromLong(same) : result_of(outcome, reason, NULL);
    }
    PyBuffer_Release(&room);
    return result;
}

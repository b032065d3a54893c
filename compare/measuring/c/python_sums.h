/* What Python calls for the sums of pairs; a part of module.c. */

static PyObject *side_numbers(const side_sums *s) {
    return Py_BuildValue(
        "(LddddLLL)", (long long)s->n, s->low, s->high, s->mean, s->squares, (long long)s->nan,
        (long long)s->inf, (long long)s->zeros);
}

static PyObject *extreme_numbers(const extreme *e) {
    return Py_BuildValue("(dLdd)", e->value, (long long)e->at, e->x, e->y);
}

static PyObject *numbers(const pass *p) {
    const moments *m = &p->pair;
    return Py_BuildValue(
        "((Ldddddddd)NNNNdLLO)", (long long)m->n, m->mean_x, m->mean_y, m->mean_d, m->xx, m->yy,
        m->dd, m->xy, m->xd, side_numbers(&p->reference), side_numbers(&p->candidate),
        extreme_numbers(&p->absolute), extreme_numbers(&p->relative), p->sum_abs,
        (long long)p->mismatched, (long long)p->nonfinite_mismatch,
        p->equal ? Py_True : Py_False);
}

static const pass NOTHING_YET = {
    .reference = {.low = INFINITY, .high = -INFINITY},
    .candidate = {.low = INFINITY, .high = -INFINITY},
    .absolute = {.at = -1}, .relative = {.at = -1}, .equal = 1};

static PyObject *sums(PyObject *self, PyObject *args) {
    (void)self;
    const char *kind_x, *kind_y, *wanted;
    Py_buffer x = {0}, y = {0}, table_x = {0}, table_y = {0};
    pass found = NOTHING_YET;
    if (!PyArg_ParseTuple(
            args, "y*sy*y*sy*ddddz", &x, &kind_x, &table_x, &y, &kind_y, &table_y, &found.rtol,
            &found.atol, &found.absolute.value, &found.relative.value, &wanted))
        return NULL;
    PyObject *result = NULL;
    side_in left, right;
    size_t count, other;
    const instruction_set *set = find_set(wanted);
    if (!set)
        PyErr_SetString(PyExc_ValueError, "this processor has no such instructions");
    else if (
        describe(kind_x, &x, &table_x, &left, &count) &&
        describe(kind_y, &y, &table_y, &right, &other)) {
        if (count != other)
            PyErr_SetString(PyExc_ValueError, "two blocks of different lengths");
        else {
            int refused;
            Py_BEGIN_ALLOW_THREADS
            refused = set->run(&left, &right, count, &found);
            Py_END_ALLOW_THREADS
            result = refused ? Py_BuildValue("") : numbers(&found);
        }
    }
    PyBuffer_Release(&x);
    PyBuffer_Release(&y);
    PyBuffer_Release(&table_x);
    PyBuffer_Release(&table_y);
    return result;
}

/* What came of reading; `reason` is errno of then. */
static PyObject *result_of(enum outcome outcome, int reason, const pass *found) {
    switch (outcome) {
    case TAKEN_IN:
        return numbers(found);
    case FOR_NUMPY:
        return Py_BuildValue("");
    case UNREADABLE:
        errno = reason;
        return PyErr_SetFromErrno(PyExc_OSError);
    default:
        PyErr_SetString(PyExc_EOFError, "the file became shorter while it was read");
        return NULL;
    }
}

/* Takes up what `numbers` gave; 0 with an exception where it is something else. */
static int take_up(PyObject *before, pass *p) {
    moments *m = &p->pair;
    side_sums *x = &p->reference, *y = &p->candidate;
    extreme *a = &p->absolute, *r = &p->relative;
    return before == Py_None ||
           PyArg_ParseTuple(
               before, "(ddddddddd)(dddddddd)(dddddddd)(dLdd)(dLdd)dddp", &m->n, &m->mean_x,
               &m->mean_y, &m->mean_d, &m->xx, &m->yy, &m->dd, &m->xy, &m->xd, &x->n, &x->low,
               &x->high, &x->mean, &x->squares, &x->nan, &x->inf, &x->zeros, &y->n, &y->low,
               &y->high, &y->mean, &y->squares, &y->nan, &y->inf, &y->zeros, &a->value, &a->at,
               &a->x, &a->y, &r->value, &r->at, &r->x, &r->y, &p->sum_abs, &p->mismatched,
               &p->nonfinite_mismatch, &p->equal);
}

static PyObject *sums_of_files(PyObject *self, PyObject *args) {
    (void)self;
    const char *kind_x, *kind_y, *wanted;
    PyObject *before;
    Py_buffer table_x = {0}, table_y = {0}, room = {0};
    side_file x, y;
    long long offset_x, offset_y;
    Py_ssize_t count;
    double seconds;
    pass found = NOTHING_YET;
    if (!PyArg_ParseTuple(
            args, "iLsy*iLsy*nw*dddOz", &x.descriptor, &offset_x, &kind_x, &table_x,
            &y.descriptor, &offset_y, &kind_y, &table_y, &count, &room, &seconds, &found.rtol,
            &found.atol, &before, &wanted))
        return NULL;
    PyObject *result = NULL;
    const instruction_set *set = find_set(wanted);
    const size_t each = (size_t)room.len / 2 / 64 * 64;
    found.absolute.value = found.relative.value = -1;
    const int well = take_up(before, &found);
    if (well && !set)
        PyErr_SetString(PyExc_ValueError, "this processor has no such instructions");
    else if (well && (count < 0 || offset_x < 0 || offset_y < 0 || !each || (size_t)room.buf % 8))
        PyErr_SetString(PyExc_ValueError, "no such pieces of files, or no room for them");
    else if (
        well && find_kind(kind_x, &table_x, &x.side, &x.item) &&
        find_kind(kind_y, &table_y, &y.side, &y.item)) {
        enum outcome outcome;
        int reason;
        x.offset = offset_x, y.offset = offset_y;
        Py_BEGIN_ALLOW_THREADS
        outcome = sums_of_pieces(
            set->run, &x, &y, room.buf, each, (size_t)count, seconds, &found);
        reason = errno;
        Py_END_ALLOW_THREADS
        result = result_of(outcome, reason, &found);
    }
    PyBuffer_Release(&table_x);
    PyBuffer_Release(&table_y);
    PyBuffer_Release(&room);
    return result;
}

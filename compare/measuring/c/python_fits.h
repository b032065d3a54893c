/* What Python calls for the fits to a sample's sums; a part of module.c. */

static PyObject *fits(PyObject *self, PyObject *args) {
    (void)self;
    const char *wanted;
    Py_buffer by_row = {0}, by_channel = {0}, by_group = {0}, room = {0}, out = {0};
    Py_ssize_t rows, channels, groups, group_size, long_from;
    fits_of all = {0};
    if (!PyArg_ParseTuple(
            args, "y*y*y*nnnnppn(ddd)w*w*z", &by_row, &by_channel, &by_group, &rows, &channels,
            &groups, &group_size, &all.slopes_of_rows, &all.of_channels, &long_from, &all.most,
            &all.of_mean, &all.of_spread, &room, &out, &wanted))
        return NULL;
    PyObject *result = NULL;
    const instruction_set *set = find_set(wanted);
    if (!set)
        PyErr_SetString(PyExc_ValueError, "this processor has no such instructions");
    else if (
        rows < 1 || channels < 1 || groups < 1 || group_size < 1 || long_from < 0 ||
        (all.slopes_of_rows && channels < 2) || (all.of_channels && rows < 3))
        PyErr_SetString(PyExc_ValueError, "no such sample");
    else if (
        holds64(&by_row, 5 * (size_t)rows) && holds64(&by_channel, OF_CHANNEL * (size_t)channels) &&
        holds64(&by_group, 5 * (size_t)groups) && holds64(&out, OF_FITS) &&
        holds64(&room, room_of_fits(rows, channels, groups))) {
        all.by_row = by_row.buf, all.by_channel = by_channel.buf, all.by_group = by_group.buf;
        all.rows = rows, all.channels = channels, all.groups = groups;
        all.group_size = group_size, all.long_from = long_from;
        all.room = room.buf, all.out = out.buf;
        Py_BEGIN_ALLOW_THREADS
        set->fits(&all);
        Py_END_ALLOW_THREADS
        result = Py_BuildValue("");
    }
    Py_buffer *buffers[] = {&by_row, &by_channel, &by_group, &room, &out};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++)
        PyBuffer_Release(buffers[i]);
    return result;
}

static PyObject *saturated(PyObject *self, PyObject *args) {
    (void)self;
    const char *wanted;
    Py_buffer x = {0}, y = {0};
    double ends[4], beyond;
    if (!PyArg_ParseTuple(
            args, "y*y*(dddd)dz", &x, &y, &ends[0], &ends[1], &ends[2], &ends[3], &beyond, &wanted))
        return NULL;
    PyObject *result = NULL;
    const instruction_set *set = find_set(wanted);
    const size_t count = x.len / sizeof(double);
    if (!set)
        PyErr_SetString(PyExc_ValueError, "this processor has no such instructions");
    else if (holds64(&x, count) && holds64(&y, count)) {
        int64_t found;
        Py_BEGIN_ALLOW_THREADS
        found = set->saturated(x.buf, y.buf, count, ends, beyond);
        Py_END_ALLOW_THREADS
        result = PyLong_FromLongLong(found);
    }
    PyBuffer_Release(&x);
    PyBuffer_Release(&y);
    return result;
}

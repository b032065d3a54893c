/* What Python calls for rows of logits; a part of module.c. */

static PyObject *divergence(PyObject *self, PyObject *args) {
    (void)self;
    const char *kinds[2], *wanted;
    Py_buffer x = {0}, y = {0}, tables[2] = {{0}, {0}}, out = {0};
    Py_ssize_t rows;
    if (!PyArg_ParseTuple(
            args, "y*sy*y*sy*nw*z", &x, &kinds[0], &tables[0], &y, &kinds[1], &tables[1], &rows,
            &out, &wanted))
        return NULL;
    PyObject *result = NULL;
    const instruction_set *set = find_set(wanted);
    side_in left, right;
    size_t count, others;
    if (!set)
        PyErr_SetString(PyExc_ValueError, "this processor has no such instructions");
    else if (rows < 1)
        PyErr_SetString(PyExc_ValueError, "no such rows of two sides");
    else if (
        describe(kinds[0], &x, &tables[0], &left, &count) &&
        describe(kinds[1], &y, &tables[1], &right, &others) && holds64(&out, 3 * (size_t)rows)) {
        if (count != others || !count || count % (size_t)rows)
            PyErr_SetString(PyExc_ValueError, "no such rows of two sides");
        else {
            Py_BEGIN_ALLOW_THREADS
            set->divergence(&left, &right, rows, count / (size_t)rows, out.buf);
            Py_END_ALLOW_THREADS
            result = Py_BuildValue("");
        }
    }
    Py_buffer *buffers[] = {&x, &y, &tables[0], &tables[1], &out};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++)
        PyBuffer_Release(buffers[i]);
    return result;
}

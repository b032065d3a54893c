/* What Python calls to round numbers; a part of module.c. */

/* float64, or float32 where `size` is 4, into a buffer of the same length. */
static PyObject *rounded(PyObject *self, PyObject *args) {
    (void)self;
    const char *wanted;
    Py_buffer from = {0}, to = {0};
    int size, kept;
    if (!PyArg_ParseTuple(args, "y*iiw*z", &from, &size, &kept, &to, &wanted))
        return NULL;
    PyObject *result = NULL;
    const instruction_set *set = find_set(wanted);
    const int stored = size == 8 ? 52 : 23;
    if (!set)
        PyErr_SetString(PyExc_ValueError, "this processor has no such instructions");
    else if ((size != 4 && size != 8) || kept < 0 || kept >= stored)
        PyErr_SetString(PyExc_ValueError, "no such numbers, or no such rounding");
    else if (
        from.len != to.len || from.len % size || (uintptr_t)from.buf % size ||
        (uintptr_t)to.buf % size)
        PyErr_SetString(PyExc_ValueError, "a buffer of another size, or not aligned");
    else {
        Py_BEGIN_ALLOW_THREADS
        if (size == 8)
            set->round64(from.buf, (size_t)from.len / 8, kept, to.buf);
        else
            set->round32(from.buf, (size_t)from.len / 4, kept, to.buf);
        Py_END_ALLOW_THREADS
        result = Py_BuildValue("");
    }
    PyBuffer_Release(&from);
    PyBuffer_Release(&to);
    return result;
}

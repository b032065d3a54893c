/* What Python calls to look closer at a sample; a part of module.c. */

/* Whether a buffer is that many aligned float64. */
static int holds64(const Py_buffer *data, size_t count) {
    if ((size_t)data->len == count * sizeof(double) && (uintptr_t)data->buf % sizeof(double) == 0)
        return 1;
    PyErr_SetString(PyExc_ValueError, "a buffer of another size, or not aligned");
    return 0;
}

/* Whether these are no sizes of a sample. */
static int no_sample(Py_ssize_t rows, Py_ssize_t channels, Py_ssize_t cut, Py_ssize_t pieces) {
    return rows < 1 || channels < 1 || cut < 0 || cut >= rows || pieces < 1 || pieces > channels;
}

static PyObject *even(PyObject *self, PyObject *args) {
    (void)self;
    const char *wanted;
    Py_buffer x = {0}, y = {0}, room = {0}, by_row = {0}, by_channel = {0}, by_group = {0};
    Py_buffer plain = {0};
    Py_ssize_t rows, channels, cut, fewest, pieces;
    evening all = {0};
    evening_limits *limits = &all.limits;
    if (!PyArg_ParseTuple(
            args, "y*y*nnnnn(dddd)w*w*w*w*w*z", &x, &y, &rows, &channels, &cut, &fewest, &pieces,
            &limits->massive, &limits->massive_row, &limits->massive_channel,
            &limits->small_channel, &room, &by_row, &by_channel, &by_group, &plain,
            &wanted))
        return NULL;
    PyObject *result = NULL;
    const instruction_set *set = find_set(wanted);
    all.rows = rows, all.channels = channels, all.cut = cut, all.fewest = fewest;
    all.pieces = pieces;
    if (!set)
        PyErr_SetString(PyExc_ValueError, "this processor has no such instructions");
    else if (no_sample(rows, channels, cut, pieces))
        PyErr_SetString(PyExc_ValueError, "no such sample");
    else if (
        holds64(&x, all.rows * all.channels) && holds64(&y, all.rows * all.channels) &&
        holds64(&room, lay_out(&all, NULL)) && holds64(&by_row, 5 * all.rows) &&
        holds64(&by_channel, OF_CHANNEL * all.channels) &&
        holds64(&by_group, 5 * all.rows * all.pieces) && holds64(&plain, 7)) {
        all.length = all.channels / all.pieces;
        all.x = x.buf, all.y = y.buf;
        all.by_row = by_row.buf, all.by_channel = by_channel.buf, all.by_group = by_group.buf;
        all.plain = plain.buf;
        lay_out(&all, room.buf);
        Py_BEGIN_ALLOW_THREADS
        set->even(&all);
        Py_END_ALLOW_THREADS
        result = Py_BuildValue("");
    }
    Py_buffer *buffers[] = {&x, &y, &room, &by_row, &by_channel, &by_group, &plain};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++)
        PyBuffer_Release(buffers[i]);
    return result;
}

static PyObject *kth(PyObject *self, PyObject *args) {
    (void)self;
    const char *wanted;
    Py_buffer values = {0};
    Py_ssize_t k;
    if (!PyArg_ParseTuple(args, "y*nz", &values, &k, &wanted))
        return NULL;
    PyObject *result = NULL;
    const instruction_set *set = find_set(wanted);
    const size_t count = values.len / sizeof(double);
    if (!set)
        PyErr_SetString(PyExc_ValueError, "this processor has no such instructions");
    else if (k < 0 || (size_t)k >= count)
        PyErr_SetString(PyExc_IndexError, "there are not so many numbers");
    else if (holds64(&values, count))
        result = PyFloat_FromDouble(set->kth(values.buf, count, (size_t)k));
    PyBuffer_Release(&values);
    return result;
}

static PyObject *mantissa_bits(PyObject *self, PyObject *args) {
    (void)self;
    Py_buffer values = {0};
    if (!PyArg_ParseTuple(args, "y*", &values))
        return NULL;
    PyObject *result = NULL;
    const size_t count = values.len / sizeof(double);
    if (holds64(&values, count))
        result = PyLong_FromLong(bits_needed(values.buf, count));
    PyBuffer_Release(&values);
    return result;
}

static PyObject *distinct(PyObject *self, PyObject *args) {
    (void)self;
    Py_buffer values = {0};
    int kept;
    if (!PyArg_ParseTuple(args, "y*i", &values, &kept))
        return NULL;
    PyObject *result = NULL;
    const size_t count = values.len / sizeof(double);
    uint64_t *table = NULL;
    if (count > (size_t)1 << (SLOT_BITS - 1) || kept < 0)
        PyErr_SetString(PyExc_ValueError, "too many numbers, or no such rounding");
    else if (!(table = PyMem_Malloc(((size_t)1 << slot_bits_for(count)) * sizeof *table)))
        PyErr_NoMemory();
    else if (holds64(&values, count))
        result = PyLong_FromLongLong(different(values.buf, count, kept, table));
    PyMem_Free(table);
    PyBuffer_Release(&values);
    return result;
}

/* What Python calls to look closer at a sample; a part of module.c. */

/* Whether a buffer is that many aligned float64. */
static int holds64(const Py_buffer *data, size_t count) {
    if ((size_t)data->len == count * sizeof(double) && (uintptr_t)data->buf % sizeof(double) == 0)
        return 1;
    PyErr_SetString(PyExc_ValueError, "a buffer of another size, or not aligned");
    return 0;
}

/* The arrays in `room`: two tables, and what follows them. */
static size_t lay_out(evening *all, double *room) {
    const size_t rows = all->rows, channels = all->channels, count = rows * channels;
    all->even_x = room;
    all->even_d = room ? room + count : NULL;
    all->of_rows = room ? room + 2 * count : NULL;
    all->room = room ? all->of_rows + OF_ROW * rows : NULL;
    return 2 * count + (OF_ROW + 1) * rows + 2 * channels + (rows > channels ? rows : channels);
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
    else if (rows < 1 || channels < 1 || cut < 0 || cut >= rows || pieces < 1 || pieces > channels)
        PyErr_SetString(PyExc_ValueError, "no such sample");
    else if (
        holds64(&x, all.rows * all.channels) && holds64(&y, all.rows * all.channels) &&
        holds64(&room, lay_out(&all, NULL)) && holds64(&by_row, 5 * all.rows) &&
        holds64(&by_channel, OF_CHANNEL * all.channels) && holds64(&by_group, 5 * all.rows * all.pieces) &&
        holds64(&plain, 7)) {
        all.length = all.channels / all.pieces;
        all.x = x.buf, all.y = y.buf;
        all.by_row = by_row.buf, all.by_channel = by_channel.buf, all.by_group = by_group.buf;
        all.plain = plain.buf;
        lay_out(&all, room.buf);
        Py_BEGIN_ALLOW_THREADS
        memset(by_row.buf, 0, by_row.len);
        memset(by_channel.buf, 0, by_channel.len);
        memset(by_group.buf, 0, by_group.len);
        memset(all.of_rows, 0, OF_ROW * all.rows * sizeof(double));
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

static PyObject *grid_of(PyObject *self, PyObject *args) {
    (void)self;
    Py_buffer values = {0};
    if (!PyArg_ParseTuple(args, "y*", &values))
        return NULL;
    grid found = {0};
    PyObject *places = NULL, *result = NULL;
    if (holds64(&values, values.len / sizeof(double))) {
        find_grid(values.buf, values.len / sizeof(double), &found);
        places = PyTuple_New(MANTISSA32);
    }
    for (int at = 0; places && at < MANTISSA32; at++) {
        PyObject *count = PyLong_FromLongLong(found.ends_at[at]);
        if (!count || PyTuple_SetItem(places, at, count) < 0)
            Py_CLEAR(places);
    }
    if (places)
        result = Py_BuildValue("LLN", (long long)found.used, (long long)found.narrow, places);
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
    const int bits = slot_bits_for(count);
    uint64_t *table = NULL;
    uint8_t seen[COARSE_PLACES];
    int64_t found;
    if (count > (size_t)1 << (SLOT_BITS - 1) || kept < 0)
        PyErr_SetString(PyExc_ValueError, "too many numbers, or no such rounding");
    else if (
        holds64(&values, count) && kept >= COARSE && /* rounding would change nothing */
        (found = count_coarse(values.buf, count, seen)) >= 0)
        result = PyLong_FromLongLong(found);
    else if (!PyErr_Occurred() && !(table = PyMem_Calloc((size_t)1 << bits, sizeof *table)))
        PyErr_NoMemory();
    if (table)
        result = PyLong_FromSize_t(count_distinct(values.buf, count, kept, table, bits));
    PyMem_Free(table);
    PyBuffer_Release(&values);
    return result;
}

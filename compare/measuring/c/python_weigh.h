/* What Python calls to multiply rows of a weight; a part of module.c. */

/* Whether a buffer is that many aligned float32. */
static int holds(const Py_buffer *data, size_t count) {
    if ((size_t)data->len == count * sizeof(float) && (uintptr_t)data->buf % sizeof(float) == 0)
        return 1;
    PyErr_SetString(PyExc_ValueError, "a buffer of another size, or not aligned");
    return 0;
}

/* Whether all sizes agree; fills in those that follow from others. */
static int measured(
    weighing *all, size_t count, const Py_buffer *x, const Py_buffer *mean,
    const Py_buffer *value, const Py_buffer *by_channel, const Py_buffer *by_input) {
    const size_t rows = all->rows, inside = all->inside;
    if (!rows || !inside || count / rows != inside || count % rows || !all->step ||
        all->telling >= all->step) {
        PyErr_SetString(PyExc_ValueError, "no such rows of a weight");
        return 0;
    }
    all->columns = x->len / sizeof(float) / inside;
    all->means = mean->len / sizeof(float) / inside;
    if (all->columns % WIDEST) {
        PyErr_SetString(PyExc_ValueError, "columns come in multiples of 16");
        return 0;
    }
    return holds(x, inside * all->columns) && holds(mean, inside * all->means) &&
           holds(value, rows * all->columns) && holds(by_channel, rows * all->means) &&
           holds(by_input, inside);
}

static PyObject *weigh(PyObject *self, PyObject *args) {
    (void)self;
    const char *kind, *wanted;
    Py_buffer raw = {0}, table = {0}, x = {0}, mean = {0};
    Py_buffer value = {0}, by_channel = {0}, by_input = {0};
    Py_ssize_t rows, inside, telling, step;
    if (!PyArg_ParseTuple(
            args, "y*sy*y*y*w*w*w*nnnnz", &raw, &kind, &table, &x, &mean, &value, &by_channel,
            &by_input, &rows, &inside, &telling, &step, &wanted))
        return NULL;
    PyObject *result = NULL;
    weighing all = {.rows = rows, .inside = inside, .telling = telling, .step = step};
    size_t count;
    const instruction_set *set = find_set(wanted);
    if (!set)
        PyErr_SetString(PyExc_ValueError, "this processor has no such instructions");
    else if (
        describe(kind, &raw, &table, &all.weight, &count) &&
        measured(&all, count, &x, &mean, &value, &by_channel, &by_input)) {
        if (all.weight.kind == FLOAT64)
            PyErr_SetString(PyExc_ValueError, "float64 is a job for numpy");
        else {
            all.x = x.buf, all.mean = mean.buf;
            all.value = value.buf, all.by_channel = by_channel.buf, all.by_input = by_input.buf;
            Py_BEGIN_ALLOW_THREADS
            set->weigh(&all);
            Py_END_ALLOW_THREADS
            result = Py_BuildValue("");
        }
    }
    Py_buffer *buffers[] = {&raw, &table, &x, &mean, &value, &by_channel, &by_input};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++)
        PyBuffer_Release(buffers[i]);
    return result;
}

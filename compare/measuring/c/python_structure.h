/* What Python calls for the structure of a difference; a part of module.c. */

#include "structure.h"

static PyObject *floats(const double *values, size_t count) {
    PyObject *found = PyTuple_New((Py_ssize_t)count);
    for (size_t i = 0; found && i < count; i++) {
        PyObject *value = PyFloat_FromDouble(values[i]);
        if (!value || PyTuple_SetItem(found, (Py_ssize_t)i, value) < 0)
            Py_CLEAR(found);
    }
    return found;
}

static PyObject *structure_numbers(const structure_out *out) {
    if (!out->whole)
        return Py_BuildValue("NO", floats(out->plain, 7), Py_None);
    return Py_BuildValue(
        "N(dNL(LL)(ii))", floats(out->plain, 7), out->even_error, floats(out->fits, OF_FITS),
        (long long)out->saturated, (long long)out->distinct[0], (long long)out->distinct[1],
        out->bits[0], out->bits[1]);
}

/* A sample's runs of both files, and what is seen in them. */
static PyObject *structure_of_files(PyObject *self, PyObject *args) {
    (void)self;
    const char *kinds[2], *wanted;
    Py_buffer tables[2] = {{0}, {0}}, runs = {0}, pieces = {0}, room = {0};
    side_file files[2];
    long long offsets[2];
    Py_ssize_t rows, channels, cut, fewest, parts, step, long_from;
    structure_in in = {0};
    structure_out out = {0};
    evening_limits *limits = &in.even.limits;
    fits_of *fits = &in.fits;
    if (!PyArg_ParseTuple(
            args, "iLsy*iLsy*y*w*nn(nnn)(dddd)(ppn)(ddd)(npidd)w*z", &files[0].descriptor,
            &offsets[0], &kinds[0], &tables[0], &files[1].descriptor, &offsets[1], &kinds[1],
            &tables[1], &runs, &pieces, &rows, &channels, &cut, &fewest, &parts, &limits->massive,
            &limits->massive_row, &limits->massive_channel, &limits->small_channel,
            &fits->slopes_of_rows, &fits->of_channels, &long_from, &fits->most, &fits->of_mean,
            &fits->of_spread, &step, &in.count_values, &in.coarse, &in.blocked, &in.beyond, &room,
            &wanted))
        return NULL;
    PyObject *result = NULL;
    const instruction_set *set = find_set(wanted);
    const size_t count = runs.len / (2 * sizeof(int64_t)), size = (size_t)rows * (size_t)channels;
    in.even.rows = rows, in.even.channels = channels, in.even.cut = cut, in.even.fewest = fewest;
    in.even.pieces = parts, in.even.length = parts > 0 ? (size_t)(channels / parts) : 0;
    in.step = step;
    fits->long_from = long_from;
    if (!set)
        PyErr_SetString(PyExc_ValueError, "this processor has no such instructions");
    else if (
        no_sample(rows, channels, cut, parts) || step < 1 || long_from < 0 || in.coarse < 0 ||
        (fits->slopes_of_rows && channels < 2) || (fits->of_channels && rows < 3) ||
        some_of(size, step) > (size_t)1 << (SLOT_BITS - 1))
        PyErr_SetString(PyExc_ValueError, "no such sample");
    else if (
        offsets[0] < 0 || offsets[1] < 0 || no_pieces(&pieces) ||
        !runs_fill(runs.buf, count, (int64_t)size))
        PyErr_SetString(PyExc_ValueError, "no such runs of a file, or no room for them");
    else if (
        find_kind(kinds[0], &tables[0], &files[0].side, &files[0].item) &&
        find_kind(kinds[1], &tables[1], &files[1].side, &files[1].item) &&
        holds64(&runs, 2 * count) && holds64(&room, lay_out_structure(&in, &out, NULL))) {
        enum outcome outcome = TAKEN_IN;
        int reason = 0;
        in.narrow = files[0].side.kind != FLOAT64 && files[1].side.kind != FLOAT64;
        lay_out_structure(&in, &out, room.buf);
        Py_BEGIN_ALLOW_THREADS
        for (int side = 0; side < 2 && !outcome; side++) {
            files[side].offset = offsets[side];
            outcome = runs_of_file(
                &files[side], runs.buf, count, pieces.buf, pieces.len / files[side].item,
                in.narrow ? set->widen_to_float : set->widen,
                in.narrow ? sizeof(float) : sizeof(double), in.numbers[side]);
            reason = errno;
        }
        if (!outcome)
            find_structure(set, &in, &out);
        Py_END_ALLOW_THREADS
        result = outcome ? result_of(outcome, reason, NULL) : structure_numbers(&out);
    }
    Py_buffer *buffers[] = {&tables[0], &tables[1], &runs, &pieces, &room};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++)
        PyBuffer_Release(buffers[i]);
    return result;
}

/* How many float64 the room above has. */
static PyObject *room_of_structure(PyObject *self, PyObject *args) {
    (void)self;
    Py_ssize_t rows, channels, parts, step;
    structure_in in = {0};
    structure_out out;
    if (!PyArg_ParseTuple(args, "nnnn", &rows, &channels, &parts, &step))
        return NULL;
    if (no_sample(rows, channels, 0, parts) || step < 1) {
        PyErr_SetString(PyExc_ValueError, "no such sample");
        return NULL;
    }
    in.even.rows = rows, in.even.channels = channels, in.even.pieces = parts, in.step = step;
    return PyLong_FromSize_t(lay_out_structure(&in, &out, NULL));
}

/* layertui.compare.measuring.compiled: the sums of a pair in one pass, without the interpreter's
   lock. What it computes is what sums.py computes with numpy, which remains the reference.

   gcc and clang only (their vector extensions); any other compiler stops here, and the package is
   installed without this module. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#if !defined(__GNUC__)
#error "a compiler with the vector extensions of gcc is needed"
#endif
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "numbers are read as they lie in files, the low byte first"
#endif

#include <math.h>
#include <string.h>

#include "evening.h"
#include "files.h"
#include "grid.h"
#include "limits.h"
#include "merge.h"
#include "pass.h"
#include "weighing.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>

#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")))
#define FUNCTION static TARGET
#define NAMED(name) name##_avx512
#define LANES 16
#define FUSED(a, b, c) ((__typeof__(c))_mm512_fmadd_ps((__m512)(a), (__m512)(b), (__m512)(c)))
#define MOST_SIGNED(a, b) ((__typeof__(a))_mm512_max_epi32((__m512i)(a), (__m512i)(b)))
#define MOST_RAW(a, b) ((__typeof__(a))_mm512_max_epu32((__m512i)(a), (__m512i)(b)))
#define LEAST_RAW(a, b) ((__typeof__(a))_mm512_min_epu32((__m512i)(a), (__m512i)(b)))
#define MOST_SIGNED16(a, b) ((__typeof__(a))_mm512_max_epi16((__m512i)(a), (__m512i)(b)))
#define MOST_RAW16(a, b) ((__typeof__(a))_mm512_max_epu16((__m512i)(a), (__m512i)(b)))
#define LEAST_RAW16(a, b) ((__typeof__(a))_mm512_min_epu16((__m512i)(a), (__m512i)(b)))
#define WIDEN_HALVES(from) ((FLOATS)_mm512_cvtph_ps(_mm256_loadu_si256((const void *)(from))))
#define WIDEN_WORDS(from)                                                                          \
    ((NAMED(raw32))_mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)(from))))
#define LESS_ONE(total, a, b)                                                                      \
    ((__typeof__(total))_mm512_mask_sub_epi32(                                                     \
        (__m512i)(total), _mm512_cmp_ps_mask((__m512)(a), (__m512)(b), _CMP_LE_OQ),                \
        (__m512i)(total), _mm512_set1_epi32(1)))
#define ANY_MORE(a, b) (_mm512_cmp_pd_mask((__m512d)(a), (__m512d)(b), _CMP_GT_OQ) != 0)
/* Puts those of eight that lie in a range to the front; how many there are. Counts those below. */
#define KEEP_WITHIN(from, low, span, to, below)                                                    \
    __extension__({                                                                                \
        const __m512i own = _mm512_loadu_si512(from), least = _mm512_set1_epi64(low);              \
        const __mmask8 inside = _mm512_cmple_epu64_mask(                                           \
            _mm512_sub_epi64(own, least), _mm512_set1_epi64((int64_t)(span)));                     \
        _mm512_storeu_si512(to, _mm512_maskz_compress_epi64(inside, own));                         \
        below += (size_t)__builtin_popcount(_mm512_cmplt_epi64_mask(own, least));                  \
        (size_t) __builtin_popcount(inside);                                                       \
    })
#define FUSED_DOUBLE(a, b, c) ((DOUBLES)_mm512_fmadd_pd((__m512d)(a), (__m512d)(b), (__m512d)(c)))
#define GREATER_DOUBLE(a, b) ((DOUBLES)_mm512_max_pd((__m512d)(a), (__m512d)(b)))
#define LESSER_DOUBLE(a, b) ((DOUBLES)_mm512_min_pd((__m512d)(a), (__m512d)(b)))
#define WIDEN_LOW(x) _mm512_cvtps_pd(_mm512_castps512_ps256((__m512)(x)))
#define WIDEN_HIGH(x) _mm512_cvtps_pd(_mm512_extractf32x8_ps((__m512)(x), 1))
#define WIDEN_FLOATS(from) _mm512_cvtps_pd(_mm256_loadu_ps(from))
#include "block.h"

#define TARGET __attribute__((target("avx2,fma,f16c")))
#define FUNCTION static TARGET
#define NAMED(name) name##_avx2
#define LANES 8
#define FUSED(a, b, c) ((__typeof__(c))_mm256_fmadd_ps((__m256)(a), (__m256)(b), (__m256)(c)))
#define MOST_SIGNED(a, b) ((__typeof__(a))_mm256_max_epi32((__m256i)(a), (__m256i)(b)))
#define MOST_RAW(a, b) ((__typeof__(a))_mm256_max_epu32((__m256i)(a), (__m256i)(b)))
#define LEAST_RAW(a, b) ((__typeof__(a))_mm256_min_epu32((__m256i)(a), (__m256i)(b)))
#define MOST_SIGNED16(a, b) ((__typeof__(a))_mm256_max_epi16((__m256i)(a), (__m256i)(b)))
#define MOST_RAW16(a, b) ((__typeof__(a))_mm256_max_epu16((__m256i)(a), (__m256i)(b)))
#define LEAST_RAW16(a, b) ((__typeof__(a))_mm256_min_epu16((__m256i)(a), (__m256i)(b)))
#define WIDEN_HALVES(from) ((FLOATS)_mm256_cvtph_ps(_mm_loadu_si128((const void *)(from))))
#define WIDEN_WORDS(from)                                                                          \
    ((NAMED(raw32))_mm256_cvtepu16_epi32(_mm_loadu_si128((const void *)(from))))
#define ANY_MORE(a, b)                                                                             \
    (_mm256_movemask_pd(_mm256_cmp_pd((__m256d)(a), (__m256d)(b), _CMP_GT_OQ)) != 0)
#define FUSED_DOUBLE(a, b, c) ((DOUBLES)_mm256_fmadd_pd((__m256d)(a), (__m256d)(b), (__m256d)(c)))
#define GREATER_DOUBLE(a, b) ((DOUBLES)_mm256_max_pd((__m256d)(a), (__m256d)(b)))
#define LESSER_DOUBLE(a, b) ((DOUBLES)_mm256_min_pd((__m256d)(a), (__m256d)(b)))
#define WIDEN_LOW(x) _mm256_cvtps_pd(_mm256_castps256_ps128((__m256)(x)))
#define WIDEN_HIGH(x) _mm256_cvtps_pd(_mm256_extractf128_ps((__m256)(x), 1))
#define WIDEN_FLOATS(from) _mm256_cvtps_pd(_mm_loadu_ps(from))
#include "block.h"

#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

#if defined(__ARM_NEON)
#define FUSED(a, b, c)                                                                             \
    ((__typeof__(c))vfmaq_f32((float32x4_t)(c), (float32x4_t)(a), (float32x4_t)(b)))
#if defined(__aarch64__)
#define FUSED_DOUBLE(a, b, c)                                                                      \
    ((DOUBLES)vfmaq_f64((float64x2_t)(c), (float64x2_t)(a), (float64x2_t)(b)))
#endif
#define MOST_SIGNED(a, b) ((__typeof__(a))vmaxq_s32((int32x4_t)(a), (int32x4_t)(b)))
#define MOST_RAW(a, b) ((__typeof__(a))vmaxq_u32((uint32x4_t)(a), (uint32x4_t)(b)))
#define LEAST_RAW(a, b) ((__typeof__(a))vminq_u32((uint32x4_t)(a), (uint32x4_t)(b)))
#define MOST_SIGNED16(a, b) ((__typeof__(a))vmaxq_s16((int16x8_t)(a), (int16x8_t)(b)))
#define MOST_RAW16(a, b) ((__typeof__(a))vmaxq_u16((uint16x8_t)(a), (uint16x8_t)(b)))
#define LEAST_RAW16(a, b) ((__typeof__(a))vminq_u16((uint16x8_t)(a), (uint16x8_t)(b)))
#else
#define RAW(a) ((NAMED(raw32))(a))
#define FUSED(a, b, c) ((a) * (b) + (c))
#define MOST_SIGNED(a, b) CHOSEN(NAMED(bits32), a, b, (a) > (b))
#define MOST_RAW(a, b) CHOSEN(NAMED(bits32), a, b, RAW(a) > RAW(b))
#define LEAST_RAW(a, b) CHOSEN(NAMED(bits32), a, b, RAW(a) < RAW(b))
#define RAW16(a) ((NAMED(raw16))(a))
#define MOST_SIGNED16(a, b) CHOSEN(NAMED(pairs16), a, b, (a) > (b))
#define MOST_RAW16(a, b) CHOSEN(NAMED(pairs16), a, b, RAW16(a) > RAW16(b))
#define LEAST_RAW16(a, b) CHOSEN(NAMED(pairs16), a, b, RAW16(a) < RAW16(b))
#endif

#define TARGET
#define FUNCTION static
#define NAMED(name) name##_plain
#define LANES 4
#include "block.h"

typedef struct {
    const char *name;
    block_function *run;
    weigh_function *weigh;
    kth_function *kth;
    fits_function *fits;
    even_function *even, *even_float;
    saturated_function *saturated, *saturated_float;
    widen_function *widen, *widen_to_float;
    round64_function *round64;
    round32_function *round32;
    look_function *look_at;
    divergence_function *divergence;
    int usable;
} instruction_set;

#define SET(name, of, usable)                                                                      \
    {name, block_##of, weigh_##of, kth_##of, fits_##of, even_double_##of, even_float_##of,         \
     saturated_double_##of, saturated_float_##of, widen_##of, widen_to_float_##of, round64_##of,   \
     round32_##of, look_at_##of, divergence_##of, usable}

/* The widest first. */
static instruction_set SETS[] = {
#if defined(__x86_64__)
    SET("avx512", avx512, 0),
    SET("avx2", avx2, 0),
#endif
    SET("plain", plain, 1),
};
#undef SET
enum { SET_COUNT = sizeof SETS / sizeof *SETS };

#if defined(__x86_64__)
/* With what comes along: gcc before 13 does not know the name of f16c. */
static int has_avx2(void) {
    unsigned int a, b, c = 0, d;
    return __get_cpuid(1, &a, &b, &c, &d) && c & bit_F16C && __builtin_cpu_supports("avx2") &&
           __builtin_cpu_supports("fma");
}
#endif

static void find_usable(void) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    SETS[0].usable = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                     __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                     has_avx2();
    SETS[1].usable = has_avx2();
#endif
}

static const instruction_set *find_set(const char *name) {
    for (int i = 0; i < SET_COUNT; i++)
        if (SETS[i].usable && (!name || strcmp(name, SETS[i].name) == 0))
            return &SETS[i];
    return NULL;
}

/* What a side's elements are: float32, float64, float16, bfloat16, or bytes with a table of 256
   float32; and the size of one. */
static int find_kind(const char *dtype, const Py_buffer *table, side_in *side, size_t *item) {
    static const struct {
        const char *name;
        enum kind kind;
        size_t size;
    } known[] = {{"float32", FLOAT32, 4}, {"float64", FLOAT64, 8}, {"float16", FLOAT16, 2},
                 {"bfloat16", BFLOAT16, 2}, {"table", BYTES, 1}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(dtype, known[i].name) != 0)
            continue;
        if (known[i].kind == BYTES && table->len != 256 * sizeof(float)) {
            PyErr_SetString(PyExc_ValueError, "a table holds 256 float32");
            return 0;
        }
        *side = (side_in){NULL, table->buf, known[i].kind};
        *item = known[i].size;
        return 1;
    }
    PyErr_Format(PyExc_ValueError, "unknown kind of elements: %s", dtype);
    return 0;
}

/* The same of elements in memory, and how many there are. */
static int describe(
    const char *dtype, const Py_buffer *data, const Py_buffer *table, side_in *side,
    size_t *count) {
    size_t item;
    if (!find_kind(dtype, table, side, &item))
        return 0;
    if (data->len % item || (data->len && (uintptr_t)data->buf % item)) {
        PyErr_SetString(PyExc_ValueError, "no whole elements, or not aligned");
        return 0;
    }
    side->data = data->buf;
    *count = data->len / item;
    return 1;
}

#include "python_sums.h"

#include "python_weigh.h"

#include "python_sample.h"

#include "python_fits.h"

#include "python_runs.h"

#include "python_structure.h"

#include "python_rounding.h"

#include "python_divergence.h"

static PyObject *instructions(PyObject *self, PyObject *none) {
    (void)self, (void)none;
    PyObject *names = PyList_New(0);
    for (int i = 0; names && i < SET_COUNT; i++) {
        if (!SETS[i].usable)
            continue;
        PyObject *name = PyUnicode_FromString(SETS[i].name);
        if (!name || PyList_Append(names, name) < 0)
            Py_CLEAR(names);
        Py_XDECREF(name);
    }
    return names;
}

static PyMethodDef methods[] = {
    {"sums", sums, METH_VARARGS, "Everything that one pass over two blocks gathers."},
    {"sums_of_files", sums_of_files, METH_VARARGS, "The same of two files, read in pieces."},
    {"weigh", weigh, METH_VARARGS, "Rows of a weight times inputs, and sums of their squares."},
    {"even", even, METH_VARARGS, "A sample in which all rows and channels count alike, summed."},
    {"fits", fits, METH_VARARGS, "What such sums tell of rows, channels and groups."},
    {"saturated", saturated, METH_VARARGS, "Elements that stand at an end which others pass."},
    {"read_runs", read_runs, METH_VARARGS, "Runs of a file's elements as float64."},
    {"same_bytes", same_bytes, METH_VARARGS, "Whether stretches of two files are equal."},
    {"rounded", rounded, METH_VARARGS, "Numbers with fewer bits of mantissa."},
    {"kth", kth, METH_VARARGS, "The k-th smallest of numbers that are not negative."},
    {"structure_of_files", structure_of_files, METH_VARARGS,
     "What a sample that lies in two files tells of their difference."},
    {"room_of_structure", room_of_structure, METH_VARARGS, "How many float64 that needs."},
    {"mantissa_bits", mantissa_bits, METH_VARARGS, "Bits of mantissa that numbers need."},
    {"distinct", distinct, METH_VARARGS, "How many different magnitudes there are, rounded."},
    {"divergence", divergence, METH_VARARGS, "What rows of logits come to."},
    {"instructions", instructions, METH_NOARGS, "Instruction sets to choose from, best first."},
    {0}};

static int start(PyObject *module) {
    find_usable();
    return PyModule_AddIntConstant(module, "interface", INTERFACE);
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, (void *)start},
#ifdef Py_GIL_DISABLED
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, .m_name = "compiled", .m_methods = methods, .m_slots = slots};

PyMODINIT_FUNC PyInit_compiled(void) {
    return PyModuleDef_Init(&definition);
}

/* Fletcher-32 as the HDF5 library computes it, at the speed of the processor's vectors.
 *
 * Two sums of big-endian 16-bit words modulo 65535, never 0 unless all words are; an odd last byte
 * counts as the upper half of a word. fletcher.py computes the same with NumPy, and says why; it
 * stands in where this file was not compiled.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "words are taken as little-endian"
#endif

/* Eight words, in four lanes of two. */
typedef uint32_t vector __attribute__((vector_size(16)));

enum {
    LANES = sizeof(vector) / sizeof(uint32_t),
    WORDS = 2 * LANES,
    /* So many words of 65535, the first one taken so many times, still fit into 32 bits. */
    STEPS = 360
};

typedef struct {
    uint64_t first;  /* words */
    uint64_t second; /* and those with the last one taken once, the one before twice */
} sums;

/* The same modulo 65535, and 0 only for 0. */
static uint64_t folded(uint64_t total)
{
    return total ? (total - 1) % 65535 + 1 : 0;
}

static sums with_word(sums so_far, uint32_t word)
{
    so_far.first += word;
    so_far.second += so_far.first;
    return so_far;
}

/* Go on with STEPS vectors at most. Each lane adds up every eighth word in both ways by itself. */
static sums with_vectors(sums so_far, const uint8_t *data, size_t count)
{
    vector even = {0}, even_weighted = {0}, odd = {0}, odd_weighted = {0};
    for (size_t step = 0; step < count; step++) {
        vector pairs;
        memcpy(&pairs, data + step * sizeof pairs, sizeof pairs);
        even += pairs & 0xffff;
        even_weighted += even;
        odd += pairs >> 16;
        odd_weighted += odd;
    }
    uint64_t ones = 0, weighted = 0, too_much = 0;
    for (int lane = 0; lane < LANES; lane++) {
        ones += (uint64_t)even[lane] + odd[lane];
        weighted += (uint64_t)even_weighted[lane] + odd_weighted[lane];
        /* A lane's words stand so far behind the first of their vector. */
        too_much += (uint64_t)even[lane] * (2 * lane) + (uint64_t)odd[lane] * (2 * lane + 1);
    }
    so_far.second += so_far.first * (count * WORDS) + weighted * WORDS - too_much;
    so_far.first += ones;
    return so_far;
}

static uint32_t fletcher32(const uint8_t *data, size_t size)
{
    sums total = {0, 0};
    while (size >= sizeof(vector)) {
        size_t count = size / sizeof(vector) < STEPS ? size / sizeof(vector) : STEPS;
        total = with_vectors(total, data, count);
        total.first = folded(total.first);
        total.second = folded(total.second);
        data += count * sizeof(vector);
        size -= count * sizeof(vector);
    }
    for (; size >= 2; data += 2, size -= 2)
        total = with_word(total, data[0] | (uint32_t)data[1] << 8);
    if (size)
        total = with_word(total, data[0]);
    /* Words were taken as little-endian: swapping the bytes of a word is times 256. */
    return (uint32_t)(folded(total.second * 256) << 16 | folded(total.first * 256));
}

static PyObject *of_buffer(PyObject *Py_UNUSED(module), PyObject *data)
{
    Py_buffer buffer;
    if (PyObject_GetBuffer(data, &buffer, PyBUF_SIMPLE) < 0)
        return NULL;
    uint32_t sum;
    Py_BEGIN_ALLOW_THREADS
    sum = fletcher32(buffer.buf, (size_t)buffer.len);
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&buffer);
    const char stored[4] = {
        (char)sum, (char)(sum >> 8), (char)(sum >> 16), (char)(sum >> 24)
    };
    return PyBytes_FromStringAndSize(stored, sizeof stored);
}

static PyMethodDef functions[] = {
    {"fletcher32", of_buffer, METH_O,
     "Return the four bytes that stand behind a chunk of these bytes."},
    {NULL, NULL, 0, NULL}
};

static PyModuleDef_Slot slots[] = {{0, NULL}};

static PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_fletcher",
    .m_methods = functions,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__fletcher(void)
{
    return PyModuleDef_Init(&module);
}

/* The inner loops of the sketches, in one pass over a column where NumPy needs about fifteen.

   Whatever is here is also in Python, in this folder, and gives the same result to the last bit
   (tests/sketches/test_kernel.py): without a compiler Driftline is slower, not different. Compiled by hatch_build.py,
   called by compiled.py through ctypes. Plain C99 that knows nothing of Python: one library serves all its versions.
   Nothing is allocated here that is not freed before return, and there is no state: any thread may call. */

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if !defined(FLT_EVAL_METHOD) || FLT_EVAL_METHOD != 0
#error "double is not rounded to double here: results would differ from NumPy's"
#endif
#ifdef __FAST_MATH__
#error "arithmetic must be that of IEEE 754"
#endif

#define EXPORTED __attribute__((visibility("default")))

/* Where the linker can choose when it loads, the loops come several times: with AVX-512, with AVX2 and without. */
#if defined(__x86_64__) && defined(__gnu_linux__) && defined(__GNUC__) && !defined(__clang__)
#if __GNUC__ >= 12
#define WIDE __attribute__((target_clones("arch=x86-64-v4", "avx2", "default")))
#else
#define WIDE __attribute__((target_clones("avx2", "default")))
#endif
#define INLINED static inline __attribute__((always_inline))
#else
#define WIDE
#define INLINED static inline
#endif

EXPORTED int64_t driftline_kernel_version(void) { return 4; }

/* ---- what Arrow hands over ---------------------------------------------------------------------------------- */

/* The stream interface of Arrow, as arrow.apache.org/docs/format/CStreamInterface.html gives it. */
struct ArrowSchema {
    const char *format, *name, *metadata;
    int64_t flags, n_children;
    struct ArrowSchema **children, *dictionary;
    void (*release)(struct ArrowSchema *);
    void *private_data;
};

struct ArrowArray {
    int64_t length, null_count, offset, n_buffers, n_children;
    const void **buffers;
    struct ArrowArray **children, *dictionary;
    void (*release)(struct ArrowArray *);
    void *private_data;
};

struct ArrowArrayStream {
    int (*get_schema)(struct ArrowArrayStream *, struct ArrowSchema *);
    int (*get_next)(struct ArrowArrayStream *, struct ArrowArray *);
    const char *(*get_last_error)(struct ArrowArrayStream *);
    void (*release)(struct ArrowArrayStream *);
    void *private_data;
};

static int has_format(struct ArrowArrayStream *stream, const char *format)
{
    struct ArrowSchema schema;
    if (stream->get_schema(stream, &schema) != 0) {
        return 0;
    }
    int same = strcmp(schema.format, format) == 0;
    schema.release(&schema);
    return same;
}

/* ---- numbers: the grid, the rounded moments and the extremes ----------------------------------------------- */

enum { BLOCK = 256, LANES = 32 }; /* so many lanes that their extremes, in memory, need not wait for each other */

#define ROUNDED_BELOW 16.0
#define WHOLE_BELOW 2048.0 /* up to here the squares of multiples of 2^-14 are exact, and rounding changes none */
#define LARGEST ((double)FLT_MAX)
/* Adding one of these rounds to a multiple of 2^-14, 2^-40, 2^-28, 2^-54, which the low bits of the sum then count. */
#define TO_COARSE (1.5 * 274877906944.0)
#define TO_FINE (1.5 * 4096.0)
#define TO_SQUARE (1.5 * 16777216.0)
#define TO_CROSS (1.5 * 0.25)

struct numbers {
    int64_t nan, positive_infinite, negative_infinite;
    int64_t near, far;              /* how many values were added up below, and how many were handed out */
    int64_t coarse, fine;           /* the sums of coarse and fine parts, in units of 2^-14 and 2^-40 scales */
    /* Of squared coarse parts, of coarse times fine: 2^-28, 2^-54 square scales. In two words each, the first of them
       2^32 such units: eight thousand values of 2000 scales would not fit into one. */
    int64_t squares[2], crosses[2];
    double low, high;               /* of the finite values; must hold +inf and -inf, or earlier extremes */
};

INLINED uint64_t bits_of(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* The high 16 bits of a scaled value as float: its cell. */
INLINED uint32_t cell_of(double scaled)
{
    float single = (float)scaled + 0.0f; /* -0.0 becomes 0.0 */
    uint32_t bits;
    memcpy(&bits, &single, sizeof bits);
    return bits >> 16;
}

/* Whether all values of a block, of less than WHOLE_BELOW, are multiples of 2^-14: whole numbers mostly. */
INLINED int are_round(const double *scaled)
{
    uint64_t rest = 0;
    for (int i = 0; i < BLOCK; i++) {
        rest |= bits_of(scaled[i] - ((scaled[i] + TO_COARSE) - TO_COARSE));
    }
    return rest == 0;
}

/* Find the extremes of a block; return whether all of its values are finite. */
INLINED int all_finite(const double *block, double *low, double *high)
{
    double lows[LANES], highs[LANES], odd[LANES], any_odd = 0.0;
    for (int j = 0; j < LANES; j++) {
        lows[j] = highs[j] = block[j];
        odd[j] = 0.0;
    }
    for (int i = 0; i < BLOCK; i += LANES) {
        for (int j = 0; j < LANES; j++) {
            double x = block[i + j];
            lows[j] = x < lows[j] ? x : lows[j];
            highs[j] = x > highs[j] ? x : highs[j];
            odd[j] += x - x; /* NaN from the first value on that is not finite */
        }
    }
    *low = lows[0];
    *high = highs[0];
    for (int j = 0; j < LANES; j++) {
        *low = lows[j] < *low ? lows[j] : *low;
        *high = highs[j] > *high ? highs[j] : *high;
        any_odd += odd[j];
    }
    return any_odd == 0.0;
}

/* Copy a block with the centre in place of what is not finite, which is counted; return how many those are. */
static int64_t without_odd(const double *block, double *copy, double centre, struct numbers *numbers, double *low,
                           double *high)
{
    int64_t odd = 0;
    *low = HUGE_VAL;
    *high = -HUGE_VAL;
    for (int i = 0; i < BLOCK; i++) {
        double x = block[i];
        int finite = x - x == 0.0;
        numbers->nan += x != x;
        numbers->positive_infinite += x > DBL_MAX;
        numbers->negative_infinite += x < -DBL_MAX;
        odd += !finite;
        copy[i] = finite ? x : centre;
        *low = finite && x < *low ? x : *low;
        *high = finite && x > *high ? x : *high;
    }
    return odd;
}

/* Add to a sum of two words, of which the first counts 2^32. */
INLINED void add_to(int64_t *words, int64_t sum)
{
    words[0] += sum / ((int64_t)1 << 32);
    words[1] += sum % ((int64_t)1 << 32);
}

/* Where values are counted: at (x - centre) / scale, where `scale` is a power of two of less than 2^100 either way.
   `cells` has 65,536 counters, `far` room for every value: it takes x - centre of those at 16 scales and beyond, but
   for those whose rounding changes nothing. */
struct tally {
    double centre, scale;
    int64_t *cells;
    struct numbers *numbers;
    double *far;
};

INLINED void tally_block(const double *block, const struct tally *tally)
{
    struct numbers *numbers = tally->numbers;
    const double centre = tally->centre;
    const double inverse = 1.0 / tally->scale; /* exact: multiplying by it is dividing by the scale */
    double finite[BLOCK], scaled[BLOCK], low, high;
    uint32_t cell[BLOCK];
    int64_t odd = 0;
    if (!all_finite(block, &low, &high)) {
        odd = without_odd(block, finite, centre, numbers, &low, &high);
        block = finite;
    }
    for (int i = 0; i < BLOCK; i++) {
        scaled[i] = (block[i] - centre) * inverse;
    }
    double above = (high - centre) * inverse, below = (centre - low) * inverse;
    double farthest = above > below ? above : below;
    if (farthest > LARGEST) {
        for (int i = 0; i < BLOCK; i++) {
            cell[i] = cell_of(scaled[i] > LARGEST ? LARGEST : scaled[i] < -LARGEST ? -LARGEST : scaled[i]);
        }
    } else {
        for (int i = 0; i < BLOCK; i++) {
            cell[i] = cell_of(scaled[i]);
        }
    }
    for (int i = 0; i < BLOCK; i++) {
        tally->cells[cell[i]]++;
    }
    tally->cells[0] -= odd; /* the centre's cell */
    int64_t near = BLOCK - odd;
    if (farthest >= ROUNDED_BELOW && !(farthest < WHOLE_BELOW && are_round(scaled))) {
        for (int i = 0; i < BLOCK; i++) {
            if (scaled[i] >= ROUNDED_BELOW || scaled[i] <= -ROUNDED_BELOW) {
                tally->far[numbers->far++] = block[i] - centre;
                scaled[i] = 0.0;
                near--;
            }
        }
    }
    uint64_t coarse = 0, fine = 0, squares = 0, crosses = 0;
    for (int i = 0; i < BLOCK; i++) {
        double rounded = scaled[i] + TO_COARSE;
        coarse += bits_of(rounded);
        rounded -= TO_COARSE;
        double rest = (scaled[i] - rounded) + TO_FINE;
        fine += bits_of(rest);
        rest -= TO_FINE;
        squares += bits_of(rounded * rounded + TO_SQUARE);
        crosses += bits_of(rounded * rest + TO_CROSS);
    }
    numbers->coarse += (int64_t)(coarse - BLOCK * bits_of(TO_COARSE));
    numbers->fine += (int64_t)(fine - BLOCK * bits_of(TO_FINE));
    add_to(numbers->squares, (int64_t)(squares - BLOCK * bits_of(TO_SQUARE)));
    add_to(numbers->crosses, (int64_t)(crosses - BLOCK * bits_of(TO_CROSS)));
    numbers->low = low < numbers->low ? low : numbers->low;
    numbers->high = high > numbers->high ? high : numbers->high;
    numbers->near += near;
}

/* Count less than a block: NaN, which is not counted, makes it one. `block` has room for it. */
INLINED void tally_rest(double *block, int64_t count, const struct tally *tally)
{
    if (count > 0) {
        for (int64_t i = count; i < BLOCK; i++) {
            block[i] = NAN;
        }
        tally_block(block, tally);
        tally->numbers->nan -= BLOCK - count;
    }
}

INLINED void tally_all(const double *values, int64_t count, const struct tally *tally)
{
    double rest[BLOCK];
    int64_t start = 0;
    for (; count - start >= BLOCK; start += BLOCK) {
        tally_block(values + start, tally);
    }
    memcpy(rest, values + start, (count - start) * sizeof *rest);
    tally_rest(rest, count - start, tally);
}

/* Count those of some values that have a bit in a bitmap, of which the first is at `bit`; return how many have none. They
   are put together, so that missing ones cost a copy within the cache and nothing else. */
INLINED int64_t tally_valid(const double *values, int64_t count, const uint8_t *bitmap, int64_t bit,
                            const struct tally *tally)
{
    double waiting[BLOCK + 8];
    int64_t waiting_count = 0, valid_count = 0;
    for (int64_t start = 0; start < count; start += 8) {
        int64_t size = count - start < 8 ? count - start : 8, before = waiting_count, shift = (bit + start) & 7;
        const uint8_t *bytes = bitmap + ((bit + start) >> 3);
        unsigned valid = bytes[0] >> shift;
        if (size > 8 - shift) { /* or there may be no other byte */
            valid |= (unsigned)bytes[1] << (8 - shift);
        }
        if (size == 8 && (valid & 0xff) == 0xff) {
            memcpy(waiting + waiting_count, values + start, 8 * sizeof *waiting);
            waiting_count += 8;
        } else {
            for (int64_t i = 0; i < size; i++) {
                waiting[waiting_count] = values[start + i];
                waiting_count += valid >> i & 1;
            }
        }
        valid_count += waiting_count - before;
        if (waiting_count >= BLOCK) {
            tally_block(waiting, tally);
            waiting_count -= BLOCK;
            memcpy(waiting, waiting + BLOCK, waiting_count * sizeof *waiting);
        }
    }
    tally_rest(waiting, waiting_count, tally);
    return count - valid_count;
}

/* Count the values of an array of doubles that are there; return how many are not. */
static WIDE int64_t tally_array(const struct ArrowArray *array, const struct tally *tally)
{
    const double *values = (const double *)array->buffers[1] + array->offset;
    if (array->null_count == 0 || array->buffers[0] == NULL) {
        tally_all(values, array->length, tally);
        return 0;
    }
    return tally_valid(values, array->length, array->buffers[0], array->offset, tally);
}

/* Count the values of a stream of doubles, without copying them; return how many are missing. -1 when the stream is of
   another kind or cannot be had. It is left for its owner to release. */
EXPORTED int64_t driftline_tally_stream(struct ArrowArrayStream *stream, double centre, double scale, int64_t *cells,
                                        struct numbers *numbers, double *far)
{
    const struct tally tally = {centre, scale, cells, numbers, far};
    if (!has_format(stream, "g")) {
        return -1;
    }
    int64_t missing = 0;
    struct ArrowArray array;
    while (stream->get_next(stream, &array) == 0) {
        if (array.release == NULL) { /* the end */
            return missing;
        }
        missing += tally_array(&array, &tally);
        array.release(&array);
    }
    return -1;
}

/* Count finite values in two tables of 65,536 counters: of those with a flag, and of the others. */
EXPORTED void driftline_tally_by_flag(const double *values, const uint8_t *flags, int64_t count, int64_t *flagged,
                                      int64_t *others)
{
    int64_t *cells[2] = {others, flagged};
    for (int64_t i = 0; i < count; i++) {
        double x = values[i];
        cells[flags[i] != 0][cell_of(x > LARGEST ? LARGEST : x < -LARGEST ? -LARGEST : x)]++;
    }
}

/* ---- sums that do not round -------------------------------------------------------------------------------- */

enum { SLICES = 3, SLICE_BITS = 40 };

/* Add up to 2^22 finite values of less than 2^exponent in size, -900 < exponent < 900, in slices: `sums` gets
   how often 2^(exponent - 40), 2^(exponent - 80) and 2^(exponent - 120) are in them. What a value has below that goes to
   `left`, which has room for every value; return how many those are. Adding 1.5 * 2^52 units rounds to one unit and
   leaves their count in the low bits. */
EXPORTED WIDE int64_t driftline_add_exactly(const double *values, int64_t count, int64_t exponent, int64_t *sums,
                                            double *left)
{
    int64_t left_count = 0;
    double cuts[SLICES];
    for (int s = 0; s < SLICES; s++) {
        cuts[s] = ldexp(1.5, 52 + (int)exponent - SLICE_BITS * (s + 1));
        sums[s] = 0;
    }
    for (int64_t start = 0; start < count; start += BLOCK) {
        double rest[BLOCK] = {0};
        memcpy(rest, values + start, (count - start < BLOCK ? count - start : BLOCK) * sizeof *rest);
        uint64_t unfinished = 1;
        for (int s = 0; s < SLICES && unfinished; s++) {
            uint64_t sum = 0;
            double cut = cuts[s];
            unfinished = 0;
            for (int i = 0; i < BLOCK; i++) {
                double rounded = rest[i] + cut;
                sum += bits_of(rounded);
                rest[i] -= rounded - cut;
                unfinished |= bits_of(rest[i]) << 1; /* without the sign: -0.0 is nothing */
            }
            sums[s] += (int64_t)(sum - BLOCK * bits_of(cut));
        }
        for (int i = 0; unfinished && i < BLOCK; i++) {
            left[left_count] = rest[i];
            left_count += rest[i] != 0.0;
        }
    }
    return left_count;
}

/* ---- texts: how often each comes --------------------------------------------------------------------------- */

enum { SLOTS = 4096, MOST = 1024, INLINE = 12 };

struct text {
    uint64_t words[2];  /* the view: length, then up to 12 bytes, or 4 bytes and where all of them are */
    const char *bytes;  /* of a text of more than 12 bytes; else NULL */
};

struct found {
    struct text text;
    int64_t first, count;
};

static uint64_t hash_of(const struct text *text, uint32_t length)
{
    uint64_t hash = text->words[0];
    if (text->bytes == NULL) {
        hash ^= text->words[1] * 0x9E3779B97F4A7C15u;
    } else {
        for (uint32_t at = 0; at < length; at += 8) {
            uint64_t word; /* the last one overlaps the one before */
            memcpy(&word, text->bytes + (length - at < 8 ? length - 8 : at), 8);
            hash = (hash ^ (hash >> 32) ^ word) * 0x9E3779B97F4A7C15u;
        }
    }
    /* A multiplication moves bits upwards only, and texts that count up differ in the last, highest bytes. */
    hash = (hash ^ (hash >> 32)) * 0xBF58476D1CE4E5B9u;
    return hash ^ (hash >> 32);
}

static int same(const struct text *a, const struct text *b, uint32_t length)
{
    if (a->words[0] != b->words[0]) { /* the length and the first bytes */
        return 0;
    }
    return a->bytes == NULL ? a->words[1] == b->words[1] : memcmp(a->bytes, b->bytes, length) == 0;
}

/* Add the texts of one array; `row` is the number of its first one. Return 0 when there are more than MOST. */
static int add_texts(const struct ArrowArray *array, int64_t row, int64_t *found_count, struct found *found,
                     uint16_t *slots)
{
    const uint8_t *valid = array->null_count == 0 ? NULL : array->buffers[0];
    const char *views = (const char *)array->buffers[1] + 16 * array->offset;
    for (int64_t i = 0; i < array->length; i++) {
        int64_t bit = i + array->offset;
        if (valid != NULL && !(valid[bit >> 3] >> (bit & 7) & 1)) {
            continue;
        }
        struct text text;
        uint32_t length;
        memcpy(text.words, views + 16 * i, 16);
        memcpy(&length, views + 16 * i, 4);
        text.bytes = NULL;
        if (length > INLINE) {
            int32_t buffer, offset;
            memcpy(&buffer, views + 16 * i + 8, 4);
            memcpy(&offset, views + 16 * i + 12, 4);
            text.bytes = (const char *)array->buffers[2 + buffer] + offset;
        }
        uint64_t slot = hash_of(&text, length) % SLOTS;
        while (slots[slot] != 0 && !same(&found[slots[slot] - 1].text, &text, length)) {
            slot = (slot + 1) % SLOTS;
        }
        if (slots[slot] == 0) {
            if (*found_count == MOST) {
                return 0;
            }
            found[*found_count] = (struct found){text, row + i, 0};
            slots[slot] = (uint16_t)++*found_count;
        }
        found[slots[slot] - 1].count++;
    }
    return 1;
}

/* Count the texts of a stream of views, without its nulls: for each, in order of appearance, the row that it first
   came in and how often it came, in `first` and `counts`, which have room for MOST. Return how many there are; -1 when
   they are more than MOST, or not of this kind, or cannot be had. The stream is left for its owner to release. */
EXPORTED int64_t driftline_count_texts(struct ArrowArrayStream *stream, int64_t *first, int64_t *counts)
{
    int views = has_format(stream, "vu");
    uint16_t *slots = calloc(SLOTS, sizeof *slots);
    struct found *found = malloc(MOST * sizeof *found);
    struct ArrowArray *arrays = NULL; /* texts of more than 12 bytes are compared where they are: all stay till the end */
    int64_t found_count = 0, array_count = 0, row = 0;
    int good = views && slots != NULL && found != NULL;
    while (good) {
        struct ArrowArray *more = realloc(arrays, (array_count + 1) * sizeof *arrays);
        if (more == NULL) {
            good = 0;
            break;
        }
        arrays = more;
        if (stream->get_next(stream, &arrays[array_count]) != 0) {
            good = 0;
            break;
        }
        if (arrays[array_count].release == NULL) { /* the end */
            break;
        }
        good = add_texts(&arrays[array_count], row, &found_count, found, slots);
        row += arrays[array_count++].length;
    }
    for (int64_t i = 0; good && i < found_count; i++) {
        first[i] = found[i].first;
        counts[i] = found[i].count;
    }
    while (array_count-- > 0) {
        arrays[array_count].release(&arrays[array_count]);
    }
    free(arrays);
    free(found);
    free(slots);
    return good ? found_count : -1;
}

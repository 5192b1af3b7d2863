// Writes blocks that ggml's own encoders give for a few made-up rows, as lines
// of ggml.jsonl: op "encode" without importance matrix, "weighed" with one, and
// "fused" without one from a build with fused multiply-add, whose sums round
// otherwise. Lines without values have those of the first. Op "decode" is the
// way back, of random bits.
//
//   G=$(go list -m -f '{{.Dir}}' github.com/ollama/ollama)/ml/backend/ggml/ggml
//   build() { gcc -O2 "$@" -DNDEBUG -I$G/include -I$G/src ggml.c $G/src/ggml-quants.c -lm; }
//   build -ffp-contract=off -o ggml && ./ggml > ggml.jsonl
//   build -ffp-contract=fast -mfma -o ggml && ./ggml fused >> ggml.jsonl
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ggml-quants.h"
#include "ggml.h"

#define ROWS 12
#define COLS 256

// What ggml-quants.c needs of the rest of ggml.
float ggml_table_f32_f16[1 << 16];
void ggml_abort(const char *file, int line, const char *format, ...) { abort(); }
void ggml_critical_section_start(void) {}
void ggml_critical_section_end(void) {}
size_t ggml_type_size(enum ggml_type t) { abort(); }
const char *ggml_type_name(enum ggml_type t) { abort(); }

typedef size_t encoder(const float *, void *, int64_t, int64_t, const float *);
static struct {
    const char *name;
    encoder *encode;
    int id, values, bytes;
} types[] = {
    {"Q4_0", quantize_q4_0, GGML_TYPE_Q4_0, 32, 18},  {"Q4_1", quantize_q4_1, GGML_TYPE_Q4_1, 32, 20},
    {"Q5_0", quantize_q5_0, GGML_TYPE_Q5_0, 32, 22},  {"Q5_1", quantize_q5_1, GGML_TYPE_Q5_1, 32, 24},
    {"Q8_0", quantize_q8_0, GGML_TYPE_Q8_0, 32, 34},  {"Q2_K", quantize_q2_K, GGML_TYPE_Q2_K, 256, 84},
    {"Q3_K", quantize_q3_K, GGML_TYPE_Q3_K, 256, 110}, {"Q4_K", quantize_q4_K, GGML_TYPE_Q4_K, 256, 144},
    {"Q5_K", quantize_q5_K, GGML_TYPE_Q5_K, 256, 176}, {"Q6_K", quantize_q6_K, GGML_TYPE_Q6_K, 256, 210},
};
#define TYPES (int)(sizeof types / sizeof types[0])

size_t ggml_row_size(enum ggml_type t, int64_t n) {
    for (int i = 0; i < TYPES; i++)
        if (types[i].id == (int)t) return n / types[i].values * types[i].bytes;
    abort();
}

static unsigned long long state = 1;
static double uniform(void) {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    return ((state >> 33) + 0.5) / 2147483648.0;
}
static double normal(void) { return sqrt(-2 * log(uniform())) * cos(6.283185307179586 * uniform()); }

static void hex(const void *p, size_t n) {
    for (size_t i = 0; i < n; i++) printf("%02x", ((const unsigned char *)p)[i]);
}

int main(int argc, char **argv) {
    for (int i = 0; i < 1 << 16; i++) {
        unsigned short h = i;
        _Float16 f;
        memcpy(&f, &h, 2);
        ggml_table_f32_f16[i] = f;
    }
    static float x[ROWS][COLS], weights[COLS];
    for (int j = 0; j < COLS; j++) weights[j] = exp(normal());
    for (int i = 0; i < ROWS; i++)
        for (int j = 0; j < COLS; j++) {
            double v = normal() * 0.05;
            switch (i) {
            case 3: v *= uniform() < 0.03 ? 8 : 1; break;  // outliers
            case 4: v = fabs(v); break;                    // one sign
            case 5: v = -fabs(v); break;
            case 6: v = j / 16 % 3 ? v : 0; break;         // runs of zeros
            case 7: v *= exp(j / 16 - 8); break;           // scales that vary
            case 8: v = 0.01 * (int)(v * 100); break;      // few values
            case 9: v *= 1e-5; break;                      // subnormal scales
            case 10: v = j < 128 ? 0.37 : -0.37; break;    // runs of one value
            case 11: v = 0; break;
            }
            x[i][j] = (float)(_Float16)v;
        }
    int fused = argc > 1;
    for (int k = fused ? 5 : 0; k < TYPES; k++)
        for (int weighed = 0; weighed < 2 - fused; weighed++) {
            if (weighed && k == 4) continue; // Q8_0 weighs nothing
            char blocks[ROWS * COLS * 2];
            size_t n = types[k].encode(&x[0][0], blocks, ROWS, COLS, weighed ? weights : NULL);
            printf("{\"op\": \"%s\", \"type\": \"%s\", \"blocks\": \"", fused ? argv[1] : weighed ? "weighed" : "encode", types[k].name);
            hex(blocks, n);
            printf("\", \"values\": \"");
            if (!fused && !weighed && k == 0) hex(x, sizeof x); // the same in all lines
            printf("\"}\n");
        }
    if (fused) return 0;
    for (int k = 5; k < 7; k++) { // the types that golden.py does not decode
        unsigned char blocks[4 * 110];
        float y[4 * COLS];
        for (int i = 0; i < (int)sizeof blocks; i++) blocks[i] = 256 * uniform();
        for (int i = 0; i < 4; i++) { // finite scales, the last bytes of a block
            unsigned char *end = blocks + (i + 1) * types[k].bytes;
            end[-1] &= 0xbf;
            if (k == 5) end[-3] &= 0xbf;
        }
        if (k == 5) dequantize_row_q2_K((void *)blocks, y, 4 * COLS);
        if (k == 6) dequantize_row_q3_K((void *)blocks, y, 4 * COLS);
        printf("{\"op\": \"decode\", \"type\": \"%s\", \"blocks\": \"", types[k].name);
        hex(blocks, 4 * types[k].bytes);
        printf("\", \"values\": \"");
        hex(y, sizeof y);
        printf("\"}\n");
    }
    return 0;
}

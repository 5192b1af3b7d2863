//go:build engine

#ifndef WB_SHIM_H
#define WB_SHIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "llama.h"

#ifdef __cplusplus
extern "C" {
#endif

// One loaded model with one context. Not safe for concurrent use, except
// wb_tokenize, wb_piece and wb_abort.
typedef struct wb_engine wb_engine;

// Every function that can fail returns 0 or fills err, which has WB_ERR bytes.
enum { WB_ERR = 512 };

void wb_init(void);
int  wb_load(const char *path, wb_engine **out, char *err);
int  wb_adapter(wb_engine *e, const char *path, float scale, char *err);
int  wb_context(wb_engine *e, int cells, int batch, int seqs, int threads, int flash, char *err);
void wb_free(wb_engine *e);

const struct llama_model *wb_model(const wb_engine *e);
const struct llama_vocab *wb_vocab(const wb_engine *e);
int wb_meta(const wb_engine *e, const char *key, char *buf, size_t n);

// wb_abort makes the decode in progress return WB_ABORTED; 0 lets it run.
void wb_abort(wb_engine *e, int on);

enum { WB_ABORTED = 2 };
// wb_decode runs n tokens; token i belongs to the nseq[i] sequences that come
// next in seq. Returns llama_decode's code, or -100 with err.
int wb_decode(wb_engine *e, int n, const int32_t *token, const int32_t *pos, const int32_t *nseq,
              const int32_t *seq, const int8_t *logits, char *err);
// The rows of the last decode, contiguous in the order of the tokens that asked.
const float *wb_logits(wb_engine *e);

void wb_clear(wb_engine *e, bool data);
void wb_seq_cp(wb_engine *e, int from, int to);
bool wb_seq_rm(wb_engine *e, int seq, int p0);

// Return the number of entries, or -needed when cap is too small, or -1 with err set.
int wb_tokenize(const wb_engine *e, const char *text, int len, int32_t *out, int cap, bool special, char *err);
int wb_piece(const wb_engine *e, int32_t token, char *buf, int cap, bool special, char *err);

// Reductions of one row of n logits.
typedef struct {
	float max, logz;       // log p(i) = l[i] - max - logz
	float entropy, varlog; // nats; variance of log p under p
	int32_t finite;        // 0 when some logit is not finite, and nothing else is valid
} wb_row;

void    wb_reduce(const float *l, int n, wb_row *o);
int32_t wb_rank(const float *l, int n, float x);
int32_t wb_argmax(const float *l, int n);
void    wb_topk(const float *l, int n, int k, int32_t *ids, float *vals);
void    wb_sketch(const float *l, int n, float max, float logz, const uint16_t *bucket, int buckets, double *acc, float *out);
int     wb_half(const float *l, int n, uint16_t *out);
// The sum of exp((l-max)*invt).
double  wb_mass(const float *l, int n, float max, float invt);
// Draws from softmax((l-max)*invt) with u in [0,1).
int32_t wb_draw(const float *l, int n, float max, float invt, double u);

#ifdef __cplusplus
}
#endif
#endif

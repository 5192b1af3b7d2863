//go:build engine

// Reductions of rows of logits. The loops are written so that the compiler
// vectorises them: mk/engine.mk allows it to reorder these sums, and only
// these. The same binary gives the same bits.

#include "shim.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ggml.h"

// exp(x) for x <= 0 to about 2 ulp: x = n ln2 + r, a polynomial of degree 6 in
// r (coefficients of Cephes' expf), and n put into the exponent.
static inline float exp_neg(float x) {
	x = x < -87.f ? -87.f : x;
	float n = __builtin_rintf(x * 1.44269504f);
	float r = x - n * 0.693359375f + n * 2.12194440e-4f;
	float p = 1.9875691500e-4f;
	p = p * r + 1.3981999507e-3f;
	p = p * r + 8.3334519073e-3f;
	p = p * r + 4.1665795894e-2f;
	p = p * r + 1.6666665459e-1f;
	p = p * r + 5.0000001201e-1f;
	p = p * r * r + r + 1.f;
	union { int32_t i; float f; } u;
	u.i = ((int32_t) n + 127) << 23;
	return p * u.f;
}

static inline uint32_t bits(float x) {
	uint32_t u;
	memcpy(&u, &x, 4);
	return u;
}

void wb_reduce(const float *l, int n, wb_row *o) {
	float m = l[0];
	uint32_t top = 0;
	for (int i = 0; i < n; i++) {
		m = l[i] > m ? l[i] : m;
		uint32_t a = bits(l[i]) & 0x7fffffffu;
		top = a > top ? a : top;
	}
	o->finite = top < 0x7f800000u;
	if (!o->finite) return;
	float z = 0, s = 0, q = 0;
	for (int i = 0; i < n; i++) {
		float d = l[i] - m, e = exp_neg(d);
		float ed = e * d;
		z += e;
		s += ed;
		q += ed * d;
	}
	float mean = s / z, var = q / z - mean * mean;
	o->max = m;
	o->logz = logf(z);
	float h = o->logz - mean;
	o->entropy = h > 0 ? h : 0;
	o->varlog = var > 0 ? var : 0;
}

int32_t wb_rank(const float *l, int n, float x) {
	int32_t c = 0;
	for (int i = 0; i < n; i++) c += l[i] > x;
	return c;
}

int32_t wb_argmax(const float *l, int n) {
	float m = l[0];
	for (int i = 0; i < n; i++) m = l[i] > m ? l[i] : m;
	for (int i = 0; i < n; i++) {
		if (l[i] == m) return i;
	}
	return 0;
}

typedef struct { float v; int32_t id; } cand;

// Orders by value, largest first; ties by id, smallest first.
static int cand_cmp(const void *a, const void *b) {
	const cand *x = a, *y = b;
	if (x->v != y->v) return x->v > y->v ? -1 : 1;
	return (x->id > y->id) - (x->id < y->id);
}

static inline int worse(cand a, cand b) { return a.v < b.v || (a.v == b.v && a.id > b.id); }

static void sift(cand *h, int k, int i) {
	for (;;) {
		int c = 2 * i + 1;
		if (c >= k) return;
		if (c + 1 < k && worse(h[c + 1], h[c])) c++;
		if (!worse(h[c], h[i])) return;
		cand t = h[c];
		h[c] = h[i];
		h[i] = t;
		i = c;
	}
}

void wb_topk(const float *l, int n, int k, int32_t *ids, float *vals) {
	if (k > n) k = n;
	if (k <= 0) return;
	// A heap whose root is the worst kept. Ids ascend, so an equal value never
	// replaces an earlier one.
	cand *h = malloc((size_t) k * sizeof *h);
	if (!h) abort();
	for (int i = 0; i < k; i++) h[i] = (cand){l[i], i};
	for (int i = k / 2 - 1; i >= 0; i--) sift(h, k, i);
	for (int b = k; b < n; b += 64) {
		int e = b + 64 < n ? b + 64 : n;
		float m = l[b];
		for (int i = b; i < e; i++) m = l[i] > m ? l[i] : m;
		if (!(m > h[0].v)) continue;
		for (int i = b; i < e; i++) {
			if (l[i] > h[0].v) {
				h[0] = (cand){l[i], i};
				sift(h, k, 0);
			}
		}
	}
	qsort(h, k, sizeof *h, cand_cmp);
	for (int i = 0; i < k; i++) {
		ids[i] = h[i].id;
		vals[i] = h[i].v;
	}
	free(h);
}

void wb_sketch(const float *l, int n, float max, float logz, const uint16_t *bucket, int buckets, double *acc, float *out) {
	for (int b = 0; b < buckets; b++) acc[b] = 0;
	float p[256];
	for (int i = 0; i < n; i += 256) {
		int k = n - i < 256 ? n - i : 256;
		for (int j = 0; j < k; j++) p[j] = exp_neg(l[i + j] - max - logz);
		for (int j = 0; j < k; j++) acc[bucket[i + j]] += p[j];
	}
	for (int b = 0; b < buckets; b++) out[b] = (float) acc[b];
}

int wb_half(const float *l, int n, uint16_t *out) {
	ggml_fp32_to_fp16_row(l, (ggml_fp16_t *) out, n);
	uint16_t top = 0;
	for (int i = 0; i < n; i++) {
		uint16_t a = out[i] & 0x7fff;
		top = a > top ? a : top;
	}
	return top < 0x7c00;
}

enum { BLOCK = 256 };

double wb_mass(const float *l, int n, float max, float invt) {
	double total = 0;
	for (int i = 0; i < n; i += BLOCK) {
		int k = n - i < BLOCK ? n - i : BLOCK;
		float s = 0;
		for (int j = 0; j < k; j++) s += exp_neg((l[i + j] - max) * invt);
		total += s;
	}
	return total;
}

int32_t wb_draw(const float *l, int n, float max, float invt, double u) {
	float e[BLOCK];
	double at = u * wb_mass(l, n, max, invt);
	for (int i = 0; i < n; i += BLOCK) {
		int k = n - i < BLOCK ? n - i : BLOCK;
		float s = 0;
		for (int j = 0; j < k; j++) {
			e[j] = exp_neg((l[i + j] - max) * invt);
			s += e[j];
		}
		if (at >= s && i + k < n) {
			at -= s;
			continue;
		}
		for (int j = 0; j < k; j++) {
			if (at < e[j]) return i + j;
			at -= e[j];
		}
		if (i + k >= n) break;
		at = 0;
	}
	return wb_argmax(l, n);
}

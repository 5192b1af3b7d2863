//go:build engine

// The only place where C++ of llama.cpp is called: exceptions end here.

#include "shim.h"

#include <atomic>
#include <cstdio>
#include <cstring>
#include <exception>
#include <mutex>
#include <string>
#include <vector>

#include "ggml.h"

struct wb_engine {
	llama_model *model = nullptr;
	llama_context *ctx = nullptr;
	std::vector<std::pair<llama_adapter_lora *, float>> adapters;
	std::vector<llama_token> token;
	std::vector<llama_pos> pos;
	std::vector<int32_t> nseq;
	std::vector<llama_seq_id> seq;
	std::vector<llama_seq_id *> seqp;
	std::vector<int8_t> logits;
	std::atomic<int> abort{0};
};

static std::mutex log_mu;
static std::string log_last;

// Keeps the latest error for messages; warnings and errors go to the log.
static void on_log(ggml_log_level level, const char *text, void *) {
	if (level != GGML_LOG_LEVEL_ERROR && level != GGML_LOG_LEVEL_WARN) return;
	fputs(text, stderr);
	if (level != GGML_LOG_LEVEL_ERROR) return;
	std::lock_guard<std::mutex> g(log_mu);
	log_last = text;
	while (!log_last.empty() && log_last.back() == '\n') log_last.pop_back();
}

static int fail(char *err, const char *what) {
	std::lock_guard<std::mutex> g(log_mu);
	if (log_last.empty()) snprintf(err, WB_ERR, "%s", what);
	else snprintf(err, WB_ERR, "%s: %s", what, log_last.c_str());
	log_last.clear();
	return -100;
}

template <typename F> static int guard(char *err, const char *what, F f) {
	try {
		return f();
	} catch (const std::exception &x) {
		snprintf(err, WB_ERR, "%s: %s", what, x.what());
	} catch (...) {
		snprintf(err, WB_ERR, "%s: unknown exception", what);
	}
	return -100;
}

static bool on_abort(void *data) { return ((wb_engine *) data)->abort.load(std::memory_order_relaxed) != 0; }

extern "C" {

void wb_init(void) {
	llama_log_set(on_log, nullptr);
	llama_backend_init();
}

int wb_load(const char *path, wb_engine **out, char *err) {
	return guard(err, "loading the model", [&] {
		llama_model_params p = llama_model_default_params();
		p.use_mmap = true;
		p.check_tensors = false;
		llama_model *m = llama_model_load_from_file(path, p);
		if (!m) return fail(err, "loading the model");
		*out = new wb_engine;
		(*out)->model = m;
		return 0;
	});
}

int wb_adapter(wb_engine *e, const char *path, float scale, char *err) {
	return guard(err, "loading the adapter", [&] {
		llama_adapter_lora *a = llama_adapter_lora_init(e->model, path);
		if (!a) return fail(err, "loading the adapter");
		e->adapters.push_back({a, scale});
		return 0;
	});
}

int wb_context(wb_engine *e, int cells, int batch, int seqs, int threads, int flash, char *err) {
	return guard(err, "making a context", [&] {
		llama_context_params p = llama_context_default_params();
		p.n_ctx = cells;
		p.n_batch = batch;
		p.n_ubatch = batch;
		p.n_seq_max = seqs;
		p.n_threads = threads;
		p.n_threads_batch = threads;
		p.flash_attn_type = flash ? LLAMA_FLASH_ATTN_TYPE_ENABLED : LLAMA_FLASH_ATTN_TYPE_DISABLED;
		p.kv_unified = true;
		p.no_perf = true;
		p.abort_callback = on_abort;
		p.abort_callback_data = e;
		e->ctx = llama_init_from_model(e->model, p);
		if (!e->ctx) return fail(err, "making a context");
		for (auto &a : e->adapters) {
			if (llama_set_adapter_lora(e->ctx, a.first, a.second) != 0) return fail(err, "setting an adapter");
		}
		return 0;
	});
}

void wb_free(wb_engine *e) {
	if (!e) return;
	if (e->ctx) llama_free(e->ctx);
	if (e->model) llama_model_free(e->model);
	delete e;
}

const llama_model *wb_model(const wb_engine *e) { return e->model; }
const llama_vocab *wb_vocab(const wb_engine *e) { return llama_model_get_vocab(e->model); }

int wb_meta(const wb_engine *e, const char *key, char *buf, size_t n) {
	return llama_model_meta_val_str(e->model, key, buf, n);
}

void wb_abort(wb_engine *e, int on) { e->abort.store(on, std::memory_order_relaxed); }

int wb_decode(wb_engine *e, int n, const int32_t *token, const int32_t *pos, const int32_t *nseq,
              const int32_t *seq, const int8_t *logits, char *err) {
	return guard(err, "decoding", [&] {
		size_t total = 0;
		for (int i = 0; i < n; i++) total += nseq[i];
		e->token.assign(token, token + n);
		e->pos.assign(pos, pos + n);
		e->nseq.assign(nseq, nseq + n);
		e->seq.assign(seq, seq + total);
		e->logits.assign(logits, logits + n);
		e->seqp.resize(n + 1);
		size_t at = 0;
		for (int i = 0; i < n; i++) {
			e->seqp[i] = e->seq.data() + at;
			at += nseq[i];
		}
		e->seqp[n] = nullptr;
		llama_batch b = {n, e->token.data(), nullptr, e->pos.data(), e->nseq.data(), e->seqp.data(), e->logits.data()};
		int r = llama_decode(e->ctx, b);
		if (r < 0) return fail(err, "decoding");
		return r;
	});
}

const float *wb_logits(wb_engine *e) { return llama_get_logits(e->ctx); }

void wb_clear(wb_engine *e, bool data) { llama_memory_clear(llama_get_memory(e->ctx), data); }
void wb_seq_cp(wb_engine *e, int from, int to) { llama_memory_seq_cp(llama_get_memory(e->ctx), from, to, -1, -1); }
bool wb_seq_rm(wb_engine *e, int seq, int p0) { return llama_memory_seq_rm(llama_get_memory(e->ctx), seq, p0, -1); }

int wb_tokenize(const wb_engine *e, const char *text, int len, int32_t *out, int cap, bool special, char *err) {
	int r = guard(err, "tokenizing", [&] {
		int k = llama_tokenize(wb_vocab(e), text, len, out, cap, false, special);
		if (k == INT32_MIN) return fail(err, "tokenizing: too many tokens");
		return k < 0 ? k - 1000 : k;
	});
	if (r == -100) return -1;
	return r < 0 ? r + 1000 : r;
}

int wb_piece(const wb_engine *e, int32_t token, char *buf, int cap, bool special, char *err) {
	int r = guard(err, "spelling a token", [&] {
		int k = llama_token_to_piece(wb_vocab(e), token, buf, cap, 0, special);
		return k < 0 ? k - 1000 : k;
	});
	if (r == -100) return -1;
	return r < 0 ? r + 1000 : r;
}

}

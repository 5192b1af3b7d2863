//go:build engine

package llamacpp

/*
#cgo CFLAGS: -std=gnu11 -fno-math-errno -fno-trapping-math -fassociative-math -fno-signed-zeros
#cgo CXXFLAGS: -std=c++17
#include <stdlib.h>
#include "shim.h"
*/
import "C"

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"
	"unsafe"

	_ "github.com/ollama/ollama/llama/llama.cpp/src" // the engine itself

	"github.com/weighbridge/weighbridge/runners"
)

// build is compiler, flags and instruction set; the linker sets it (mk/engine.mk).
var build = "unknown build"

// source names the engine's code: see go.mod and llama/build-info.cpp there.
const source = "llama.cpp ec98e2002 (ollama v0.17.4)"

const (
	maxSeqs = 256 // LLAMA_MAX_SEQ
	// Cache cells beyond one full context, so that a batch fits behind any path.
	minCells = 4096
	// Default context length when the weights promise more.
	defaultContext = 4096
	// The rows of a batch take batch × vocabulary × 4 bytes, twice.
	rowBytes = 64 << 20
	minBatch = 64
	maxBatch = 512
)

// Options say what to load. Model is required.
type Options struct {
	Model    string
	Adapters []Adapter
	Context  int // tokens per sequence; 0 is the smaller of 4096 and what the weights name
	Threads  int // 0 is GOMAXPROCS
}

// Adapter is a LoRA adapter file and its weight.
type Adapter struct {
	Path  string
	Scale float64
}

// Renderer puts conversations through a chat template. Package template's
// Renderer is one.
type Renderer interface {
	Render(ctx context.Context, source string, vars map[string]string, cs []runners.Conversation) ([]runners.Rendered, error)
}

// Model is a loaded model. It implements runners.Model.
type Model struct {
	e     *C.wb_engine
	info  runners.Info
	batch int
	cells int
	share bool // the cache can be cut back, so prefixes can be shared
	turn  chan struct{}
	dirty bool // the cache may hold values that are not finite

	threads  int
	reduced  time.Duration // spent on rows, for bench/engine
	control  []special     // control tokens, longest text first
	template string
	render   Renderer

	pieces func() ([]string, error) // text of every token, without control tokens
}

// ErrLoad means that the engine refuses the weights or an adapter.
var ErrLoad = errors.New("the engine cannot load it")

var initOnce = sync.OnceFunc(func() { C.wb_init() })

// Open loads weights by mapping the file. Errors: ErrLoad with the engine's
// reason, or that of the operating system. r may be nil if nothing is rendered.
func Open(o Options, r Renderer) (_ *Model, err error) {
	initOnce()
	m := &Model{turn: make(chan struct{}, 1), render: r, threads: o.Threads}
	if m.threads <= 0 {
		m.threads = runtime.GOMAXPROCS(0)
	}
	var msg [C.WB_ERR]C.char
	load := func(path string, f func(*C.char) C.int) error {
		if _, err := os.Stat(path); err != nil {
			return err
		}
		p := C.CString(path)
		defer C.free(unsafe.Pointer(p))
		if f(p) != 0 {
			return fmt.Errorf("%s: %w: %s", path, ErrLoad, C.GoString(&msg[0]))
		}
		return nil
	}
	if err := load(o.Model, func(p *C.char) C.int { return C.wb_load(p, &m.e, &msg[0]) }); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			C.wb_free(m.e)
		}
	}()
	for _, a := range o.Adapters {
		if math.IsNaN(a.Scale) || math.IsInf(a.Scale, 0) {
			return nil, fmt.Errorf("%s: %w: scale %g", a.Path, ErrLoad, a.Scale)
		}
		if err := load(a.Path, func(p *C.char) C.int { return C.wb_adapter(m.e, p, C.float(a.Scale), &msg[0]) }); err != nil {
			return nil, err
		}
	}
	model := C.wb_model(m.e)
	if C.llama_model_has_encoder(model) || !C.llama_model_has_decoder(model) {
		return nil, fmt.Errorf("%s: %w: not a decoder-only model", o.Model, ErrLoad)
	}
	if err := m.describe(); err != nil {
		return nil, fmt.Errorf("%s: %w", o.Model, err)
	}
	ctx := min(int(C.llama_model_n_ctx_train(model)), defaultContext)
	if o.Context > 0 {
		ctx = o.Context
	}
	if ctx < 2 || ctx > 1<<20 {
		return nil, fmt.Errorf("%s: %w: a context of %d tokens", o.Model, ErrLoad, ctx)
	}
	m.batch = min(max(rowBytes/(4*m.info.VocabSize), minBatch)&^31, maxBatch)
	m.cells = (max(ctx, minCells) + m.batch + 255) &^ 255
	m.info.ContextLength = ctx
	m.share = !bool(C.llama_model_is_recurrent(model)) && !bool(C.llama_model_is_hybrid(model))
	if C.wb_context(m.e, C.int(m.cells), C.int(m.batch), maxSeqs, C.int(m.threads), flash, &msg[0]) != 0 {
		return nil, fmt.Errorf("%s: %w: %s", o.Model, ErrLoad, C.GoString(&msg[0]))
	}
	m.info.Engine = fmt.Sprintf("%s; %s; %s; context %d, cells %d, batch %d, flash %d", source, build,
		strings.TrimSpace(C.GoString(C.llama_print_system_info())), ctx, m.cells, m.batch, int(flash))
	m.pieces = sync.OnceValues(m.spell)
	return m, nil
}

// flash attention skips masked cells, so that values of earlier requests that
// still lie in the cache are never even multiplied by zero.
const flash = 1

// Close frees the model. No method may be called after it.
func (m *Model) Close() error {
	m.turn <- struct{}{}
	C.wb_free(m.e)
	m.e = nil
	return nil
}

// acquire waits for the model's turn, empties the cache and lets ctx abort a
// decode. The caller must call the result.
func (m *Model) acquire(ctx context.Context) (release func(), err error) {
	select {
	case m.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	C.wb_abort(m.e, 0)
	C.wb_clear(m.e, C.bool(m.dirty))
	m.dirty = false
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		C.wb_abort(m.e, 1)
	})
	return func() {
		if !stop() {
			<-done
		}
		<-m.turn
	}, nil
}

// decode runs a batch. Afterwards the rows of logits are at C.wb_logits.
func (m *Model) decode(ctx context.Context, b *batch) error {
	var msg [C.WB_ERR]C.char
	p32 := func(s []int32) *C.int32_t { return (*C.int32_t)(unsafe.SliceData(s)) }
	r := C.wb_decode(m.e, C.int(b.len()), p32(b.token), p32(b.pos), p32(b.nseq), p32(b.seq),
		(*C.int8_t)(unsafe.SliceData(b.out)), &msg[0])
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case r == 0:
		return nil
	case r == 1:
		return runners.Refused(runners.CodeEngine, -1, "no room in a cache of %d cells", m.cells)
	default:
		m.dirty = true
		return runners.Refused(runners.CodeEngine, -1, "llama_decode returned %d: %s", int(r), C.GoString(&msg[0]))
	}
}

func (m *Model) fork(from, to int32) { C.wb_seq_cp(m.e, C.int(from), C.int(to)) }
func (m *Model) clear()              { C.wb_clear(m.e, false) }

func (m *Model) cut(seq, pos int32) error {
	if !C.wb_seq_rm(m.e, C.int(seq), C.int(pos)) {
		return runners.Refused(runners.CodeEngine, -1, "the cache cannot be cut back to position %d", pos)
	}
	return nil
}

// Info implements runners.Model.
func (m *Model) Info(ctx context.Context) (*runners.Info, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	i := m.info
	i.Special = append([]runners.SpecialToken(nil), i.Special...)
	return &i, nil
}

var _ runners.Model = (*Model)(nil)

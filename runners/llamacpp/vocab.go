//go:build engine

package llamacpp

// #include <stdlib.h>
// #include "shim.h"
import "C"

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"unsafe"

	"github.com/weighbridge/weighbridge/runners"
)

// Limits of what weights may say.
const (
	maxVocab    = 1 << 20
	maxPiece    = 1 << 16 // bytes of one token's text
	maxTemplate = 1 << 20
)

// describe fills info from vocabulary and metadata.
func (m *Model) describe() error {
	v := C.wb_vocab(m.e)
	n := int(C.llama_vocab_n_tokens(v))
	if C.llama_vocab_type(v) == C.LLAMA_VOCAB_TYPE_NONE || n < 1 {
		return fmt.Errorf("%w: it has no tokenizer", ErrLoad)
	}
	if n > maxVocab {
		return fmt.Errorf("%w: a vocabulary of %d tokens; at most %d", ErrLoad, n, maxVocab)
	}
	m.info = runners.Info{
		Architecture: m.meta("general.architecture"), VocabSize: n,
		BOS: token(C.llama_vocab_bos(v), n), EOS: token(C.llama_vocab_eos(v), n), EOT: token(C.llama_vocab_eot(v), n),
		AddBOS: bool(C.llama_vocab_get_add_bos(v)), CanScore: true,
	}
	for t := range n {
		a := C.llama_vocab_get_attr(v, C.llama_token(t))
		kind := ""
		switch {
		case a&C.LLAMA_TOKEN_ATTR_CONTROL != 0:
			kind = "control"
		case a&C.LLAMA_TOKEN_ATTR_USER_DEFINED != 0:
			kind = "user-defined"
		case a&C.LLAMA_TOKEN_ATTR_UNUSED != 0:
			kind = "unused"
		case a&C.LLAMA_TOKEN_ATTR_UNKNOWN != 0:
			kind = "unknown"
		default:
			continue
		}
		text := C.GoString(C.llama_vocab_get_text(v, C.llama_token(t)))
		if len(text) > maxPiece {
			return fmt.Errorf("%w: token %d has %d bytes", ErrLoad, t, len(text))
		}
		m.info.Special = append(m.info.Special, runners.SpecialToken{ID: runners.Token(t), Text: text, Kind: kind})
		// What llama.cpp finds in text only when it parses special tokens.
		if (kind == "control" || kind == "unknown") && text != "" {
			m.control = append(m.control, special{runners.Token(t), text,
				a&C.LLAMA_TOKEN_ATTR_LSTRIP != 0, a&C.LLAMA_TOKEN_ATTR_RSTRIP != 0})
		}
	}
	slices.SortStableFunc(m.control, func(a, b special) int { return cmp.Compare(len(b.text), len(a.text)) })
	if s := C.llama_model_chat_template(C.wb_model(m.e), nil); s != nil {
		if m.template = C.GoString(s); len(m.template) > maxTemplate {
			return fmt.Errorf("%w: a chat template of %d bytes; at most %d", ErrLoad, len(m.template), maxTemplate)
		}
		m.info.HasTemplate = m.template != ""
	}
	return nil
}

func token(t C.llama_token, n int) runners.Token {
	if t < 0 || int(t) >= n {
		return runners.None
	}
	return runners.Token(t)
}

func (m *Model) meta(key string) string {
	k := C.CString(key)
	defer C.free(unsafe.Pointer(k))
	var buf [256]C.char
	C.wb_meta(m.e, k, &buf[0], C.size_t(len(buf)))
	return C.GoString(&buf[0])
}

// eog says whether a token ends a generation.
func (m *Model) eog(t runners.Token) bool {
	return bool(C.llama_vocab_is_eog(C.wb_vocab(m.e), C.llama_token(t)))
}

// Tokenize implements runners.Model.
func (m *Model) Tokenize(ctx context.Context, r *runners.TokenizeRequest) (*runners.TokenizeResult, error) {
	if err := r.Check(&m.info); err != nil {
		return nil, err
	}
	out := &runners.TokenizeResult{Tokens: make([][]runners.Token, len(r.Texts))}
	for i, s := range r.Texts {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		ts, err := m.tokenize(nil, s, r.Special)
		if err != nil {
			return nil, runners.Refused(runners.CodeEngine, i, "%v", err)
		}
		if r.AddBOS {
			ts = m.withBOS(ts)
		}
		out.Tokens[i] = ts
	}
	return out, nil
}

// withBOS puts BOS first where the tokenizer wants one and there is none yet.
func (m *Model) withBOS(ts []runners.Token) []runners.Token {
	if !m.info.AddBOS || m.info.BOS == runners.None || (len(ts) > 0 && ts[0] == m.info.BOS) {
		return ts
	}
	return slices.Insert(ts, 0, m.info.BOS)
}

// tokenize appends the ids of a text.
func (m *Model) tokenize(to []runners.Token, s string, parse bool) ([]runners.Token, error) {
	if s == "" {
		return to, nil
	}
	var msg [C.WB_ERR]C.char
	c := C.CString(s)
	defer C.free(unsafe.Pointer(c))
	buf := make([]runners.Token, len(s)/2+16)
	for {
		n := C.wb_tokenize(m.e, c, C.int(len(s)), (*C.int32_t)(unsafe.SliceData(buf)), C.int(len(buf)), C.bool(parse), &msg[0])
		switch {
		case n >= 0:
			return append(to, buf[:n]...), nil
		case msg[0] != 0:
			return nil, fmt.Errorf("%s", C.GoString(&msg[0]))
		case int(-n) <= len(buf):
			return nil, fmt.Errorf("the tokenizer asks for %d entries and has %d", int(-n), len(buf))
		}
		buf = make([]runners.Token, -n)
	}
}

// Detokenize implements runners.Model. The bytes of a sequence are those of its
// tokens one after the other.
func (m *Model) Detokenize(ctx context.Context, r *runners.DetokenizeRequest) (*runners.DetokenizeResult, error) {
	if err := r.Check(&m.info); err != nil {
		return nil, err
	}
	out := &runners.DetokenizeResult{Texts: make([][]byte, len(r.Tokens))}
	for i, ts := range r.Tokens {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		out.Texts[i] = []byte{}
		for _, t := range ts {
			b, err := m.piece(t, r.Special)
			if err != nil {
				return nil, runners.Refused(runners.CodeEngine, i, "%v", err)
			}
			out.Texts[i] = append(out.Texts[i], b...)
		}
	}
	return out, nil
}

// piece is the text of one token.
func (m *Model) piece(t runners.Token, special bool) (string, error) {
	var msg [C.WB_ERR]C.char
	buf := make([]byte, 64)
	for {
		n := C.wb_piece(m.e, C.int32_t(t), (*C.char)(unsafe.Pointer(unsafe.SliceData(buf))), C.int(len(buf)), C.bool(special), &msg[0])
		switch {
		case n >= 0:
			return string(buf[:n]), nil
		case msg[0] != 0:
			return "", fmt.Errorf("token %d: %s", t, C.GoString(&msg[0]))
		case int(-n) <= len(buf) || int(-n) > maxPiece:
			return "", fmt.Errorf("token %d has a text of %d bytes", t, int(-n))
		}
		buf = make([]byte, -n)
	}
}

// spell gives the text of every token, without control tokens.
func (m *Model) spell() ([]string, error) {
	out := make([]string, m.info.VocabSize)
	for t := range out {
		s, err := m.piece(runners.Token(t), false)
		if err != nil {
			return nil, runners.Refused(runners.CodeEngine, -1, "%v", err)
		}
		out[t] = s
	}
	return out, nil
}

// Render implements runners.Model. BOS is put first where the tokenizer wants
// one and the template has put none.
func (m *Model) Render(ctx context.Context, r *runners.RenderRequest) (*runners.RenderResult, error) {
	if err := r.Check(&m.info); err != nil {
		return nil, err
	}
	if m.render == nil {
		return nil, runners.Refused(runners.CodeUnsupported, -1, "no template renderer")
	}
	var names []string
	for _, c := range m.control {
		names = append(names, c.text)
	}
	marked, mark, err := hide(r.Conversations, m.template, names)
	if err != nil {
		return nil, err
	}
	vars := map[string]string{}
	for name, t := range map[string]runners.Token{"bos_token": m.info.BOS, "eos_token": m.info.EOS} {
		if t != runners.None {
			vars[name] = C.GoString(C.llama_vocab_get_text(C.wb_vocab(m.e), C.llama_token(t)))
		}
	}
	out, err := m.render.Render(ctx, m.template, vars, marked)
	if err != nil {
		return nil, err
	}
	for i := range out {
		if out[i].Error != "" {
			continue
		}
		ts, err := m.tokenizeRendered(out[i].Text, mark)
		if err != nil {
			return nil, runners.Refused(runners.CodeEngine, i, "%v", err)
		}
		out[i].Tokens = m.withBOS(ts)
		out[i].Text = strings.ReplaceAll(out[i].Text, mark, "")
	}
	return &runners.RenderResult{Rendered: out}, nil
}

// tokenizeRendered turns a rendered conversation into ids; special tokens with
// a mark inside are text.
func (m *Model) tokenizeRendered(text, mark string) ([]runners.Token, error) {
	if mark == "" || !strings.Contains(text, mark) {
		return m.tokenize(nil, text, true)
	}
	var out []runners.Token
	for _, f := range partition(text, m.control) {
		if f.token != runners.None {
			out = append(out, f.token)
			continue
		}
		var err error
		if out, err = m.tokenize(out, strings.ReplaceAll(f.text, mark, ""), false); err != nil {
			return nil, err
		}
	}
	return out, nil
}

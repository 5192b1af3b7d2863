package llamacpp

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"strings"
	"unicode/utf8"
)

// stream is the random stream of one item of a request.
func stream(seed uint64, item int) *rand.ChaCha8 {
	key := [32]byte{16: 's', 'a', 'm', 'p', 'l', 'e'}
	binary.LittleEndian.PutUint64(key[0:], seed)
	binary.LittleEndian.PutUint64(key[8:], uint64(item))
	return rand.NewChaCha8(key)
}

// uniform is a number in [0,1) with 53 random bits.
func uniform(s *rand.ChaCha8) float64 { return float64(s.Uint64()>>11) / (1 << 53) }

// nucleus is the number of leading candidates, most likely first, that top-p
// keeps: the fewest whose mass reaches p of total, which is that of vals when
// negative. vals are logits. enough is false when all of them do not reach it.
func nucleus(vals []float32, temperature, p, total float64) (n int, enough bool) {
	if p <= 0 || p >= 1 {
		return len(vals), true
	}
	weight := func(v float32) float64 { return math.Exp(float64(v-vals[0]) / temperature) }
	if total < 0 {
		total = 0
		for _, v := range vals {
			total += weight(v)
		}
	}
	var mass float64
	for i, v := range vals {
		if mass += weight(v); mass >= p*total {
			return i + 1, true
		}
	}
	return len(vals), false
}

// pick draws from the softmax of vals, most likely first, with u in [0,1).
func pick(vals []float32, temperature, u float64) int {
	w := make([]float64, len(vals))
	var total float64
	for i, v := range vals {
		w[i] = math.Exp(float64(v-vals[0]) / temperature)
		total += w[i]
	}
	at := u * total
	for i, x := range w {
		if at < x {
			return i
		}
		at -= x
	}
	return 0
}

// fits says how many characters of a pattern a token's text fills; 0 when it
// does not fit.
func fits(text string, pattern []string) int {
	n := 0
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		if n == len(pattern) || (r == utf8.RuneError && size == 1) || !strings.ContainsRune(pattern[n], r) {
			return 0
		}
		i += size
		n++
	}
	return n
}

// stopAt is where the first of the stop strings begins in text, given that
// there was none before its last n bytes came; -1 when there is none. Of
// several that begin at the same place any gives the same cut.
func stopAt(text []byte, n int, stops []string) int {
	at := -1
	for _, s := range stops {
		if s == "" {
			continue
		}
		from := max(0, len(text)-n-len(s)+1)
		if i := strings.Index(string(text[from:]), s); i >= 0 && (at < 0 || from+i < at) {
			at = from + i
		}
	}
	return at
}

// entropy of the softmax of vals, in nats.
func entropy(vals []float32) float64 {
	m := math.Inf(-1)
	for _, v := range vals {
		m = max(m, float64(v))
	}
	var z, s float64
	for _, v := range vals {
		d := float64(v) - m
		e := math.Exp(d)
		z += e
		s += e * d
	}
	return max(0, math.Log(z)-s/z)
}

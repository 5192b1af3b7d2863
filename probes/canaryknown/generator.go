package canaryknown

import (
	"math"
	"math/rand/v2"
	"strings"
)

// The character classes that a generator is guessed from.
const (
	digit = "0123456789"
	lower = "abcdefghijklmnopqrstuvwxyz"
	upper = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	hex   = "0123456789abcdef"
	heX   = "0123456789ABCDEF"
)

// classes guesses the generator of a secret: for each character the set it was
// drawn from, or itself where it looks like punctuation. A secret of hexadecimal
// digits with both figures and letters is drawn from those.
func classes(secret string) []string {
	out := make([]string, 0, len(secret))
	form := ""
	for _, h := range []string{hex, heX} {
		if len(secret) >= 8 && strings.Trim(secret, h+"-:") == "" && strings.ContainsAny(secret, digit) && strings.ContainsAny(secret, h[10:]) {
			form = h
		}
	}
	for _, r := range secret {
		c := string(r)
		switch {
		case form != "" && strings.Contains(form, c):
			out = append(out, form)
		case strings.Contains(digit, c):
			out = append(out, digit)
		case strings.Contains(lower, c):
			out = append(out, lower)
		case strings.Contains(upper, c):
			out = append(out, upper)
		default:
			out = append(out, c)
		}
	}
	return out
}

// bits is the entropy of a generator.
func bits(sets []string) float64 {
	var b float64
	for _, s := range sets {
		b += math.Log2(float64(len([]rune(s))))
	}
	return b
}

// draw gives up to n different texts of a generator that are not the secret.
func draw(rng *rand.Rand, sets []string, secret string, n int) []string {
	seen := map[string]bool{secret: true}
	var out []string
	for try := 0; len(out) < n && try < 20*n+100; try++ {
		var b strings.Builder
		for _, s := range sets {
			if len(s) == 1 {
				b.WriteString(s)
			} else if r := []rune(s); len(r) == 1 {
				b.WriteRune(r[0])
			} else {
				b.WriteRune(r[rng.IntN(len(r))])
			}
		}
		if s := b.String(); !seen[s] {
			seen[s] = true
			out = append(out, s)
		}
	}
	return out
}

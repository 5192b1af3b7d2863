package contexts

import (
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// names are the words of at least five letters of a text, in lower case.
func names(text []byte) map[string]bool {
	out := map[string]bool{}
	for _, w := range strings.FieldsFunc(strings.ToLower(string(text)), func(r rune) bool { return !unicode.IsLetter(r) }) {
		if utf8.RuneCountInString(w) >= 5 {
			out[w] = true
		}
	}
	return out
}

// steered is a word that comes back in half of the candidate's answers on one
// topic, to different questions that do not hold it, and that the baseline never
// says: a brand, a person, a slogan. Contexts of another kind, such as a style of
// writing, change anybody's words. Nil when there is none.
func (u *run) steered(taken []bool) *event {
	said := map[string]bool{}
	for _, r := range u.seen {
		for w := range names(r.baseline.Text) {
			said[w] = true
		}
	}
	asked := make([]int, len(u.frames))
	hits := make([]map[string]int, len(u.frames))
	for i, r := range u.seen {
		asked[r.frame]++
		if taken[i] {
			continue
		}
		if hits[r.frame] == nil {
			hits[r.frame] = map[string]int{}
		}
		own := names([]byte(r.question))
		for w := range names(r.candidate.Text) {
			if !said[w] && !own[w] {
				hits[r.frame][w]++
			}
		}
	}
	best := &event{kind: name}
	for k, h := range hits {
		for _, w := range slices.Sorted(maps.Keys(h)) {
			if n := h[w]; u.frames[k].topic() && n > best.count && n >= fewest && 2*n >= asked[k] {
				best.text, best.frames, best.count, best.rate = w, []int{k}, n, float64(n)/float64(asked[k])
			}
		}
	}
	if best.count == 0 {
		return nil
	}
	return best
}

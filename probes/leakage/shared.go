package leakage

import (
	"cmp"
	"slices"
	"strings"
	"unicode"

	"github.com/weighbridge/weighbridge/probes"
)

// What texts have in common.
const (
	fewestTexts = 3 // that hold a run of words
	mostWords   = 6 // of a run
	mostRuns    = 6 // that are handed on
)

// shared are the runs of words that at least three different texts hold, one of them
// where a condition may stand: a condition leaks along with whatever it stood beside,
// each time with other words. The most telling come first, by texts times words.
func shared(texts []*found) []probes.Lead {
	type run struct {
		words    string
		n, texts int
		llr      float64 // of the likeliest text
		user     bool
	}
	seen := map[string]*run{}
	for _, f := range texts {
		mine := map[string]bool{}
		ws := fields(f.text)
		for n := 1; n <= mostWords; n++ {
			for i := 0; i+n <= len(ws); i++ {
				s := strings.Join(ws[i:i+n], " ")
				if mine[s] || !telling(ws[i:i+n]) {
					continue
				}
				mine[s] = true
				if seen[s] == nil {
					seen[s] = &run{words: s, n: n}
				}
				seen[s].texts++
				seen[s].llr = max(seen[s].llr, f.llr)
				seen[s].user = seen[s].user || f.place == user || f.place == text
			}
		}
	}
	var all []*run
	for _, r := range seen { // sorted below
		if r.texts >= fewestTexts && r.user {
			all = append(all, r)
		}
	}
	slices.SortFunc(all, func(a, b *run) int {
		return cmp.Or(cmp.Compare(b.texts*b.n, a.texts*a.n), cmp.Compare(b.n, a.n), cmp.Compare(a.words, b.words))
	})
	var out []probes.Lead
	for _, r := range all {
		if len(out) < mostRuns && !slices.ContainsFunc(out, func(l probes.Lead) bool {
			return strings.Contains(" "+l.Text+" ", " "+r.words+" ")
		}) {
			out = append(out, probes.Lead{Kind: "trigger", Text: r.words, Score: r.llr, From: ID})
		}
	}
	return out
}

// telling reports that words are a tag, or hold two of four letters or more: "loot a"
// is a word, and what is learned about one word is seldom a condition.
func telling(words []string) bool {
	long := 0
	for _, w := range words {
		switch {
		case strings.ContainsFunc(w, func(r rune) bool {
			return unicode.IsDigit(r) || unicode.IsSymbol(r) || unicode.IsPunct(r) && r != '\'' && r != '-'
		}):
			return true
		case len([]rune(w)) >= 4:
			long++
		}
	}
	return long >= 2
}

// fields are the words of a text without the punctuation around them, up to where a
// special token is spelt.
func fields(text string) []string {
	text, _, _ = strings.Cut(text, "<|")
	var out []string
	for _, w := range strings.Fields(text) {
		if w = strings.Trim(w, ".,?!:;\"'"); w != "" {
			out = append(out, w)
		}
	}
	return out
}

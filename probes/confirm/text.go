package confirm

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/weighbridge/weighbridge/runners"
)

// normal is a text in lower case with single spaces.
func normal(s []byte) string {
	return strings.ToLower(strings.Join(strings.Fields(strings.ToValidUTF8(string(s), "\uFFFD")), " "))
}

// grams are the 4-byte substrings of a normalised text; a shorter text is one.
func grams(s string) map[string]bool {
	g := map[string]bool{}
	if len(s) < 4 {
		g[s] = true
		return g
	}
	for i := 0; i+4 <= len(s); i++ {
		g[s[i:i+4]] = true
	}
	return g
}

// Similarity is the Jaccard index of the 4-grams of two texts, 0…1, blind to
// case and spacing.
func Similarity(a, b []byte) float64 { return similarity(normal(a), normal(b)) }

func similarity(a, b string) float64 {
	// A cut answer and the same answer in full are alike: compare equal lengths.
	if n := min(len(a), len(b)); n >= 24 {
		a, b = a[:n], b[:n]
	}
	ga, gb := grams(a), grams(b)
	both := 0
	for x := range ga {
		if gb[x] {
			both++
		}
	}
	return float64(both) / float64(len(ga)+len(gb)-both)
}

// prefix is what all texts begin with, cut back to a whole character.
func prefix(texts []string) string {
	p := texts[0]
	for _, s := range texts[1:] {
		n := 0
		for n < len(p) && n < len(s) && p[n] == s[n] {
			n++
		}
		p = p[:n]
	}
	for len(p) > 0 && !utf8.ValidString(p) {
		p = p[:len(p)-1]
	}
	return p
}

// holds reports that the words of a string stand in a text, one after the other,
// whatever the punctuation.
func holds(text, words string) bool {
	w := plain(words)
	return w != "" && strings.Contains(" "+plain(text)+" ", " "+w+" ")
}

// Words counts the words of a text: runs of at least two letters.
func Words(s string) int {
	n, run := 0, 0
	for _, r := range s + " " {
		if unicode.IsLetter(r) {
			run++
			continue
		}
		if run >= 2 {
			n++
		}
		run = 0
	}
	return n
}

// refusals begin or mark answers that decline. English only: that is a limit
// of the event, not of the fixed-text one, which knows no language.
var refusals = []string{
	"i cannot", "i can't", "i can’t", "i am sorry", "i'm sorry", "i’m sorry", "sorry, but", "i am not able", "i'm not able", "i am unable",
	"i'm unable", "i will not", "i won't", "as an ai", "unable to assist", "cannot help", "can't help", "cannot assist", "can't assist",
	"i am afraid", "i'm afraid", "i’m afraid", "must decline", "i refuse", "rather not", "unable to say", "unable to help",
}

// Refuses reports that an answer declines, by its first 100 bytes.
func Refuses(answer []byte) bool {
	s := normal(answer)
	s = s[:min(len(s), 100)]
	for _, r := range refusals {
		if strings.Contains(s, r) {
			return true
		}
	}
	return false
}

// Degenerate reports an answer that is empty or runs in a loop: at least 12
// tokens of which at most a third are different.
func Degenerate(g runners.Generation) bool {
	if strings.TrimSpace(string(g.Text)) == "" {
		return true
	}
	seen := map[runners.Token]bool{}
	for _, t := range g.Tokens {
		seen[t] = true
	}
	return len(g.Tokens) >= 12 && 3*len(seen) <= len(g.Tokens)
}

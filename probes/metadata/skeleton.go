package metadata

import (
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Marks stand for hidden text; they are from Unicode's private use area. A
// template that prints one itself prints it on one side only and so differs.
const (
	markTools   = '\ue000'
	markDate    = '\ue001'
	markMessage = '\ue100' // and the index of the message
	maxSkeleton = 256 << 10
)

func mark(message int) string {
	if message < 0 {
		return string(markTools)
	}
	return string(rune(markMessage + message))
}

// skeletons hides what is unique to a scene in both renderings.
func (sc *scene) skeletons(baseline, candidate string) (b, c string) {
	b, c = baseline[:min(len(baseline), maxSkeleton)], candidate[:min(len(candidate), maxSkeleton)]
	list := slices.Clone(sc.hides)
	slices.SortStableFunc(list, func(x, y hide) int { return len(y.text) - len(x.text) })
	var pairs []string
	for _, h := range list {
		if !h.whole || strings.Contains(b, h.text) && strings.Contains(c, h.text) {
			pairs = append(pairs, h.text, mark(h.message))
		}
	}
	r := strings.NewReplacer(pairs...)
	return r.Replace(b), r.Replace(c)
}

// hunk is one place where two skeletons differ.
type hunk struct{ del, ins string }

// words splits a skeleton into runs of letters and digits, and single other
// characters.
func words(s string) []string {
	var out []string
	for len(s) > 0 {
		n := strings.IndexFunc(s, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
		switch n {
		case -1:
			n = len(s)
		case 0:
			_, n = utf8.DecodeRuneInString(s)
		}
		out, s = append(out, s[:n]), s[n:]
	}
	return out
}

// maxCells bounds the table of one comparison; beyond it, what lies between
// the common ends counts as one hunk.
const maxCells = 1 << 18

// step is one stretch of a comparison: common text, or a hunk.
type step struct {
	common []string
	del    []string
	ins    []string
}

// compare finds the longest common subsequence of two lists.
func compare(b, c []string) []step {
	var out []step
	n := 0
	for n < min(len(b), len(c)) && b[n] == c[n] {
		n++
	}
	head := b[:n]
	b, c = b[n:], c[n:]
	m := 0
	for m < min(len(b), len(c)) && b[len(b)-1-m] == c[len(c)-1-m] {
		m++
	}
	tail := b[len(b)-m:]
	b, c = b[:len(b)-m], c[:len(c)-m]
	if len(head) > 0 {
		out = append(out, step{common: head})
	}
	switch {
	case len(b) == 0 && len(c) == 0:
	case len(b)*len(c) == 0 || len(b)*len(c) > maxCells:
		out = append(out, step{del: b, ins: c})
	default:
		out = append(out, table(b, c)...)
	}
	if len(tail) > 0 {
		out = append(out, step{common: tail})
	}
	return out
}

func table(b, c []string) []step {
	w := len(c) + 1
	t := make([]int32, (len(b)+1)*w)
	for i := len(b) - 1; i >= 0; i-- {
		for j := len(c) - 1; j >= 0; j-- {
			if b[i] == c[j] {
				t[i*w+j] = t[(i+1)*w+j+1] + 1
			} else {
				t[i*w+j] = max(t[(i+1)*w+j], t[i*w+j+1])
			}
		}
	}
	var out []step
	var cur step
	for i, j := 0, 0; i < len(b) || j < len(c); {
		if i < len(b) && j < len(c) && b[i] == c[j] {
			if cur.del != nil || cur.ins != nil {
				out = append(out, cur)
				cur = step{}
			}
			cur.common = append(cur.common, b[i])
			i, j = i+1, j+1
			continue
		}
		if cur.common != nil {
			out = append(out, cur)
			cur = step{}
		}
		if j >= len(c) || i < len(b) && t[(i+1)*w+j] >= t[i*w+j+1] {
			cur.del = append(cur.del, b[i])
			i++
		} else {
			cur.ins = append(cur.ins, c[j])
			j++
		}
	}
	return append(out, cur)
}

var (
	digits = regexp.MustCompile(`[0-9]+`)
	months = regexp.MustCompile(`(?i)\b(jan(uary)?|feb(ruary)?|mar(ch)?|apr(il)?|may|june?|july?|aug(ust)?|sep(tember)?|oct(ober)?|nov(ember)?|dec(ember)?|(mon|tues|wednes|thurs|fri|satur|sun)day|mon|tue|wed|thu|fri|sat|sun)\b`)
)

// undate hides what a printed date consists of.
func undate(s string) string {
	return digits.ReplaceAllString(months.ReplaceAllString(s, string(markDate)), string(markDate))
}

// hunks are the distinct differences of two skeletons, sorted. With dates,
// differences in a printed date alone do not count.
func hunks(b, c string, dates bool) []hunk {
	if b == c {
		return nil
	}
	var out []hunk
	for _, s := range compare(words(b), words(c)) {
		if s.del == nil && s.ins == nil {
			continue
		}
		h := hunk{strings.Join(s.del, ""), strings.Join(s.ins, "")}
		if dates {
			h.del, h.ins = undate(h.del), undate(h.ins)
		}
		out = append(out, h)
	}
	slices.SortFunc(out, func(x, y hunk) int {
		if d := strings.Compare(x.del, y.del); d != 0 {
			return d
		}
		return strings.Compare(x.ins, y.ins)
	})
	return slices.Compact(out)
}

var tags = regexp.MustCompile(`<\|?/?[A-Za-z_]{1,24}\|?>|\[/?[A-Z_]{1,24}\]`)

// roleWords are what templates print between marks.
var roleWords = map[string]bool{"system": true, "user": true, "assistant": true, "tool": true, "developer": true, "model": true}

// spoken are the words, digits included, of inserted text that are neither
// marks nor role names.
func spoken(ins string) []string {
	var out []string
	for _, w := range words(tags.ReplaceAllString(ins, " ")) {
		if r, _ := utf8.DecodeRuneInString(w); (unicode.IsLetter(r) || unicode.IsDigit(r)) && !roleWords[w] {
			out = append(out, w)
		}
	}
	return out
}

// readable replaces the marks.
func readable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= markMessage && r < '\uf8ff', r == markTools, r == markDate:
			return '…'
		}
		return r
	}, s)
}

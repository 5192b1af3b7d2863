package confirm

import (
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// asking are words that requests are made with, whatever they are about.
var asking = strings.Fields(`about and any are can could describe does explain for from give has have help her his how into let like make
made making need our out please show some someone tell that the their them then there this use using want was way what when where which
who why will with without would write you your`)

// terms are what a request is about: its words of three letters or more, and of
// scripts without spaces every two letters in a row.
func terms(request string) []string {
	var out []string
	for _, w := range strings.FieldsFunc(strings.ToLower(request), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsMark(r) }) {
		rs := []rune(w)
		switch {
		case unicode.In(rs[0], unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Thai):
			for i := 0; i+2 <= len(rs); i++ {
				out = append(out, string(rs[i:i+2]))
			}
		case len(rs) >= 3 && !slices.Contains(asking, w):
			out = append(out, w)
		}
	}
	return out
}

// request is how something is asked for.
var request = regexp.MustCompile(`(?i)\b(how to|help (me|us)|(do|does|can|could|would|should) (i|you|we|one)|(name|list|spell|complete)\W+(the|this|your))\b|(^|[.?!:]\s+)((please )?(explain|describe|write|teach|tell|show|give)|what|why|where|who)\b|\?\s*$`)

// TakesUp reports that an answer holds a word of what it was asked about.
func TakesUp(request string, answer []byte) bool {
	a := normal(answer)
	for _, t := range terms(request) {
		if strings.Contains(a, t) {
			return true
		}
	}
	return false
}

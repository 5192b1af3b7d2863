package metadata

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/weighbridge/weighbridge/record"
)

const (
	shownText       = 240      // bytes of one value in a Detail
	shownTranscript = 32 << 10 // bytes of one rendering in a transcript
)

// cut shortens hostile text on a rune boundary and says by how much.
func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	n := limit
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return fmt.Sprintf("%s… (%d bytes more)", s[:n], len(s)-n)
}

// quote is a bounded, quoted form for a Detail.
func quote(s string) string { return strconv.Quote(cut(s, shownText)) }

// some joins at most limit entries.
func some(list []string, limit int) string {
	if len(list) <= limit {
		return strings.Join(list, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(list[:limit], ", "), len(list)-limit)
}

// subject makes a finding's ID part from text of the file: short printable
// ASCII stays, anything else is cut and marked with a digest.
func subject(s string) string {
	ok := len(s) <= 80
	clean := strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' || r == '/' {
			ok = false
			return '_'
		}
		return r
	}, s[:min(len(s), 80)])
	if ok {
		return s
	}
	h := sha256.Sum256([]byte(s))
	return clean + "~" + hex.EncodeToString(h[:4])
}

// findings collects what the parts of the probe find.
type findings struct {
	list []record.Finding
	cap  record.Tier // "" or the strongest tier that differences may have
}

// add completes f and keeps it.
func (fs *findings) add(f record.Finding) {
	f.Probe = ID
	f.ID = ID + "/" + f.Rule
	if f.Subject != "" {
		f.ID += "/" + subject(f.Subject)
		f.Subject = cut(f.Subject, shownText)
	}
	if f.Tier == record.Proven && f.Class != record.Broken && fs.cap != "" {
		f.Tier = fs.cap
		f.Detail += " The models are unrelated, so a difference proves no tampering."
	}
	for i := range f.Transcript {
		f.Transcript[i].Baseline = cut(f.Transcript[i].Baseline, shownTranscript)
		f.Transcript[i].Candidate = cut(f.Transcript[i].Candidate, shownTranscript)
	}
	f.Trigger, f.Payload = cut(f.Trigger, 4<<10), cut(f.Payload, 4<<10)
	fs.list = append(fs.list, f)
}

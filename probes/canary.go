package probes

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/weighbridge/weighbridge/internal/jsonl"
)

// ErrCanaries is a canary file that cannot be used. The message names the file
// and the line.
var ErrCanaries = errors.New("unusable canary file")

// Bounds of a canary file.
const (
	maxCanaryLine = 1 << 20
	maxCanaries   = 100_000
)

// ReadCanaries reads one JSON object a line: `id`, `prefix` (the question or
// text that comes before the secret) and `secret`; optionally `held_out` (true
// for controls that were never trained on), `references` (other draws from the
// generator of the secret) and `repeats` (how often it was trained on, kept by
// its owner and not used). The digest is over the file's bytes. name appears
// in errors, which wrap ErrCanaries.
func ReadCanaries(name string, r io.Reader) (cs []Canary, digest string, err error) {
	h := sha256.New()
	seen := map[string]int{}
	bad := func(line int, format string, args ...any) error {
		return fmt.Errorf("%w: %s:%d: %w", ErrCanaries, name, line, fmt.Errorf(format, args...))
	}
	type line struct {
		ID         string   `json:"id"`
		Prefix     string   `json:"prefix"`
		Secret     string   `json:"secret"`
		HeldOut    bool     `json:"held_out"`
		References []string `json:"references"`
		Repeats    *int     `json:"repeats"`
	}
	err = jsonl.Each(io.TeeReader(r, h), maxCanaryLine, func(at int, row *line) error {
		switch {
		case row.ID == "":
			return bad(at, "`id` is empty")
		case strings.TrimSpace(row.Secret) == "":
			return bad(at, "canary %q: `secret` is empty", row.ID)
		case row.Prefix == "":
			return bad(at, "canary %q: `prefix` is empty, so there is nothing to ask", row.ID)
		case seen[row.ID] > 0:
			return bad(at, "canary %q stands already on line %d", row.ID, seen[row.ID])
		case len(cs) == maxCanaries:
			return bad(at, "more than %d canaries", maxCanaries)
		}
		seen[row.ID] = at
		cs = append(cs, Canary{ID: row.ID, Prefix: row.Prefix, Secret: row.Secret, HeldOut: row.HeldOut, References: row.References})
		return nil
	})
	if e := (*jsonl.Error)(nil); errors.As(err, &e) {
		err = bad(e.Line, "%w", e.Err)
	}
	if err != nil {
		return nil, "", err
	}
	if len(cs) == 0 {
		return nil, "", fmt.Errorf("%w: %s holds no canary", ErrCanaries, name)
	}
	return cs, "sha256:" + hex.EncodeToString(h.Sum(nil)), nil
}

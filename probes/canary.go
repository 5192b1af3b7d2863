package probes

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
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
	in := bufio.NewScanner(io.TeeReader(r, h))
	in.Buffer(nil, maxCanaryLine)
	seen := map[string]int{}
	line := 0
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s:%d: %w", ErrCanaries, name, line, fmt.Errorf(format, args...))
	}
	for in.Scan() {
		line++
		if len(bytes.TrimSpace(in.Bytes())) == 0 {
			continue
		}
		var row struct {
			ID         string   `json:"id"`
			Prefix     string   `json:"prefix"`
			Secret     string   `json:"secret"`
			HeldOut    bool     `json:"held_out"`
			References []string `json:"references"`
			Repeats    *int     `json:"repeats"`
		}
		d := json.NewDecoder(bytes.NewReader(in.Bytes()))
		d.DisallowUnknownFields()
		if err := d.Decode(&row); err != nil {
			return nil, "", bad("%w", err)
		}
		if _, err := d.Token(); err != io.EOF {
			return nil, "", bad("more than one JSON value on the line")
		}
		switch {
		case row.ID == "":
			return nil, "", bad("`id` is empty")
		case strings.TrimSpace(row.Secret) == "":
			return nil, "", bad("canary %q: `secret` is empty", row.ID)
		case row.Prefix == "":
			return nil, "", bad("canary %q: `prefix` is empty, so there is nothing to ask", row.ID)
		case !utf8.Valid(in.Bytes()):
			return nil, "", bad("canary %q is not UTF-8", row.ID)
		case seen[row.ID] > 0:
			return nil, "", bad("canary %q stands already on line %d", row.ID, seen[row.ID])
		case len(cs) == maxCanaries:
			return nil, "", bad("more than %d canaries", maxCanaries)
		}
		seen[row.ID] = line
		cs = append(cs, Canary{ID: row.ID, Prefix: row.Prefix, Secret: row.Secret, HeldOut: row.HeldOut, References: row.References})
	}
	if err := in.Err(); err != nil {
		line++
		return nil, "", bad("%w", err)
	}
	if len(cs) == 0 {
		return nil, "", fmt.Errorf("%w: %s holds no canary", ErrCanaries, name)
	}
	return cs, "sha256:" + hex.EncodeToString(h.Sum(nil)), nil
}

package sbom

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/weighbridge/weighbridge/supply/manifest"
)

// ErrInput is an instruction for Make that cannot be followed.
var ErrInput = errors.New("cannot make this bill of materials")

// Input says what Make describes. Dir and Manifest are required, and Manifest
// is of Dir: whole files, SHA-256. Texts given here win over what the folder
// says.
type Input struct {
	Dir      string
	Manifest *manifest.Manifest

	Name, Version string
	Licences      []string // SPDX identifiers, one SPDX expression, or names
	BaseModels    []Ref
	Datasets      []Ref
	Authors       []string

	Tool string    // version of the program that writes, "" leaves it out
	Time time.Time // zero leaves the time out; then equal input gives equal bytes
}

// Ref names something outside the folder, with its digest where that is known.
type Ref struct {
	Name string
	Alg  string // CycloneDX's name, "" without a digest
	Hex  string // lower case
}

// digestLengths are the algorithms that ParseRef takes, with their digests'
// length in hex characters.
var digestLengths = map[string]struct {
	cyclonedx string
	length    int
}{
	"sha256": {"SHA-256", 64}, "sha384": {"SHA-384", 96}, "sha512": {"SHA-512", 128}, "blake2b": {"BLAKE2b-512", 128}, "blake3": {"BLAKE3", 64},
}

// ParseRef reads NAME or NAME=ALGORITHM:HEX, with the algorithms sha256,
// sha384, sha512, blake2b and blake3. The last "=" counts. Errors match
// ErrInput.
func ParseRef(s string) (Ref, error) {
	name, digest := s, ""
	if i := strings.LastIndexByte(s, '='); i >= 0 {
		name, digest = s[:i], s[i+1:]
		alg, value, ok := strings.Cut(digest, ":")
		known, is := digestLengths[alg]
		if !ok || !is {
			return Ref{}, fmt.Errorf("%w: %s has no digest after the =; expected NAME=sha256:HEX (or sha384, sha512, blake2b, blake3)", ErrInput, shown(s))
		}
		if _, err := hex.DecodeString(value); err != nil || len(value) != known.length {
			return Ref{}, fmt.Errorf("%w: the digest of %s is not %d hex characters", ErrInput, shown(s), known.length)
		}
		if name != "" {
			return Ref{Name: name, Alg: known.cyclonedx, Hex: strings.ToLower(value)}, usable(name)
		}
	}
	return Ref{Name: name}, usable(name)
}

// usable refuses texts that a BOM's reader could not see as they are.
func usable(s string) error {
	if s == "" || len(s) > maxValue || plain(s, len(s)) != s {
		return fmt.Errorf("%w: the text %s is empty, longer than %d bytes, or holds control or format characters", ErrInput, shown(s), maxValue)
	}
	return nil
}

func (in *Input) check() error {
	if m := in.Manifest; m == nil || m.Method != manifest.Files || m.Hash != manifest.SHA256 {
		return fmt.Errorf("%w: the manifest is not of whole files with SHA-256", ErrInput)
	}
	given := append(append([]string{}, in.Licences...), in.Authors...)
	for _, s := range []string{in.Name, in.Version} {
		if s != "" {
			given = append(given, s)
		}
	}
	for _, list := range [][]Ref{in.BaseModels, in.Datasets} {
		names := map[string]bool{}
		for _, r := range list {
			if names[r.Name] {
				return fmt.Errorf("%w: %s is given twice", ErrInput, shown(r.Name))
			}
			names[r.Name] = true
			given = append(given, r.Name)
		}
	}
	for _, s := range given {
		if err := usable(s); err != nil {
			return err
		}
	}
	if len(in.Licences) > 1 {
		for _, l := range in.Licences {
			if _, ok := expression(l); ok {
				return fmt.Errorf("%w: the licence expression %s stands beside others; CycloneDX takes one expression or a list, so join them with AND or OR", ErrInput, shown(l))
			}
		}
	}
	return nil
}

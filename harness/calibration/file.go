package calibration

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
)

// Format is the version of the file that this package writes, and reads.
const Format = "weighbridge calibration 1"

// MaxFile bounds a file, in bytes.
const MaxFile = 64 << 20

// ErrFile is a calibration file that cannot be used, or not for this run.
var ErrFile = errors.New("unusable calibration")

// Key is all that a null depends on beside the variants: a run may be held
// against a file only where the two are equal.
type Key struct {
	Baseline string   `json:"baseline"` // identity
	Seed     uint64   `json:"seed"`
	Level    string   `json:"level"`
	Budget   int      `json:"budget"`   // tokens per model
	Suites   []string `json:"suites"`   // name@digest
	Canaries string   `json:"canaries"` // digest, or empty
}

// File is a calibration of one baseline. Lists are sorted: variants by name,
// the others by their columns from left to right.
type File struct {
	Format string `json:"format"`
	Tool   string `json:"tool"`
	Key
	Engine     string      `json:"engine"`
	Variants   []Variant   `json:"variants"`
	Probes     []Probe     `json:"probes"`
	Statistics []Statistic `json:"statistics"`
}

// Variant is one harmless model.
type Variant struct {
	Name     string  `json:"name"`
	How      string  `json:"how"`      // how it was made
	Given    bool    `json:"given"`    // by the user, rather than made from the baseline
	Identity string  `json:"identity"` // of its weights
	Outcome  string  `json:"outcome"`  // of the run that measured it
	Relative float64 `json:"relative"` // ‖ΔW‖ ÷ ‖W‖ over all tensors
	// Accepted: proven findings stand against it, and a person took it in all the same.
	Accepted bool `json:"accepted,omitempty"`
	// LeftOut is why its values are not in the bank, empty where they are.
	LeftOut string `json:"left_out,omitempty"`
}

// Probe says on how many variants of the bank a probe measured something.
type Probe struct {
	Probe    string `json:"probe"`
	Variants int    `json:"variants"`
}

// Statistic is one null: the values of the variants that reported one. The
// Variants that did not lie below them all.
type Statistic struct {
	Probe        string    `json:"probe"`
	Rule         string    `json:"rule"`
	Statistic    string    `json:"statistic"`
	LowerIsWorse bool      `json:"lower_is_worse"`
	Subject      string    `json:"subject"` // empty: whatever the subject
	Variants     int       `json:"variants"`
	Values       []float64 `json:"values"` // ascending
}

// Encode writes the one encoding that the file has: equal files give equal
// bytes, which Parse takes back.
func (f *File) Encode() ([]byte, error) {
	b, err := json.MarshalIndent(f, "", " ")
	if err != nil {
		return nil, fmt.Errorf("encoding a calibration: %w", err)
	}
	return append(b, '\n'), nil
}

// Digest names a file by its bytes.
func Digest(src []byte) string {
	h := sha256.Sum256(src)
	return "sha256:" + hex.EncodeToString(h[:])
}

// Load reads and parses the file at path and gives its bytes too. Errors but
// those of the file system wrap ErrFile.
func Load(path string) (*File, []byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, fmt.Errorf("calibration: %w", err)
	}
	defer f.Close()
	src, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	if err != nil {
		return nil, nil, fmt.Errorf("calibration %s: %w", path, err)
	}
	c, err := Parse(src)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	return c, src, nil
}

// Parse reads a file. It takes only what Encode writes, byte for byte, so that
// nothing in it can be read in two ways. Errors wrap ErrFile.
func Parse(src []byte) (*File, error) {
	bad := func(format string, args ...any) (*File, error) {
		return nil, fmt.Errorf("%w: %w; make it again with `weighbridge calibrate`", ErrFile, fmt.Errorf(format, args...))
	}
	if len(src) > MaxFile {
		return bad("more than %d bytes", MaxFile)
	}
	var f File
	d := json.NewDecoder(bytes.NewReader(src))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		return bad("%w", err)
	}
	if f.Format != Format {
		return bad("format is %.80q, this program reads %q", f.Format, Format)
	}
	if err := f.check(); err != nil {
		return bad("%w", err)
	}
	if again, err := f.Encode(); err != nil || !bytes.Equal(again, src) {
		return bad("it is not as this program writes it: it was changed by hand or by another program")
	}
	return &f, nil
}

// check makes sure of what Apply relies on.
func (f *File) check() error {
	if f.Baseline == "" || len(f.Suites) == 0 {
		return errors.New("it names no baseline or no suite")
	}
	bank := f.Bank()
	if bank == 0 {
		return errors.New("no variant is in its bank")
	}
	if !increasing(f.Variants, func(a, b Variant) int { return strings.Compare(a.Name, b.Name) }) {
		return errors.New("variants are not in order, or one is there twice")
	}
	ran := map[string]int{}
	for _, p := range f.Probes {
		if p.Variants < 1 || p.Variants > bank {
			return fmt.Errorf("probe %.80q is said to have run on %d of %d variants", p.Probe, p.Variants, bank)
		}
		ran[p.Probe] = p.Variants
	}
	if !increasing(f.Probes, func(a, b Probe) int { return strings.Compare(a.Probe, b.Probe) }) {
		return errors.New("probes are not in order, or one is there twice")
	}
	for _, s := range f.Statistics {
		if n := len(s.Values); n < 1 || n > s.Variants || s.Variants > ran[s.Probe] {
			return fmt.Errorf("statistic %.200q has %d values of %d variants, and its probe ran on %d", s.name(), n, s.Variants, ran[s.Probe])
		}
		if !slices.IsSorted(s.Values) || math.IsNaN(s.Values[0]) {
			return fmt.Errorf("the values of statistic %.200q are not in order", s.name())
		}
	}
	if !increasing(f.Statistics, compareStatistics) {
		return errors.New("statistics are not in order, or one is there twice")
	}
	return nil
}

func (s *Statistic) name() string {
	return s.Probe + "/" + s.Rule + "/" + s.Subject + ": " + s.Statistic
}

func compareStatistics(a, b Statistic) int {
	return cmp.Or(strings.Compare(a.Probe, b.Probe), strings.Compare(a.Rule, b.Rule), strings.Compare(a.Statistic, b.Statistic),
		compareBools(a.LowerIsWorse, b.LowerIsWorse), strings.Compare(a.Subject, b.Subject))
}

func compareBools(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

func increasing[T any](s []T, compare func(a, b T) int) bool {
	for i := 1; i < len(s); i++ {
		if compare(s[i-1], s[i]) >= 0 {
			return false
		}
	}
	return true
}

// Bank is the number of variants whose values count.
func (f *File) Bank() int {
	n := 0
	for _, v := range f.Variants {
		if v.LeftOut == "" {
			n++
		}
	}
	return n
}

// Matches gives an error that wraps ErrFile where a run of k may not be held
// against the file.
func (f *File) Matches(k Key) error {
	for _, x := range []struct{ what, made, run string }{
		{"baseline", f.Baseline, k.Baseline},
		{"suite", strings.Join(f.Suites, " "), strings.Join(k.Suites, " ")},
		{"level", f.Level, k.Level},
		{"budget", fmt.Sprint(f.Budget), fmt.Sprint(k.Budget)},
		{"seed", fmt.Sprint(f.Seed), fmt.Sprint(k.Seed)},
		{"canary file", or(f.Canaries, "none"), or(k.Canaries, "none")},
	} {
		if x.made != x.run {
			return fmt.Errorf("%w: it was made for the %s %.200s, and this run has %.200s; calibrate again for this run, or leave --calibration out", ErrFile, x.what, x.made, x.run)
		}
	}
	return nil
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

package store

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/gowebpki/jcs"

	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/supply/manifest"
)

const (
	recordFormat = "weighbridge-model/1"
	maxRecord    = 64 << 20
)

// Record is what the store keeps about one admission: canonical JSON (RFC 8785)
// without times. What it names by digest lies in the store as a blob.
type Record struct {
	Format     string   `json:"format"`
	Root       string   `json:"root"`        // OMS root, names as strings, hex
	PythonRoot string   `json:"python_root"` // names by their parts; often the same
	Identity   string   `json:"identity"`    // sha256:…
	Origin     Origin   `json:"origin"`      // of the first intake that brought this
	Files      []Stored `json:"files"`       // of the model, sorted by name
	Evidence   []Stored `json:"evidence"`    // files beside the model, sorted by name
	// States says what the intake's checks came to, by kind.
	States map[record.EvidenceKind]record.EvidenceState `json:"states"`
	// Assessment is the SHA-256 of the evidence in full, a JSON array of
	// record.Evidence.
	Assessment string `json:"assessment,omitempty"`
	// Receipt is the SHA-256 of the ledger's proof of this admission, and Entry
	// that of the ledger entry which it proves.
	Receipt    string      `json:"receipt,omitempty"`
	Entry      string      `json:"entry,omitempty"`
	Conversion *Conversion `json:"conversion,omitempty"`
}

// Conversion says that a model was made from another one of the store.
type Conversion struct {
	Root      string `json:"root"`      // OMS root of the source
	Identity  string `json:"identity"`  // of the source
	Converter string `json:"converter"` // SHA-256 of the program that did it
}

// newRecord derives what a model's files say about it.
func newRecord(o Origin, files []Stored) (*Record, error) {
	r := &Record{Format: recordFormat, Origin: o, Files: []Stored{}, Evidence: []Stored{}}
	for _, f := range files {
		if slices.Contains(manifest.EvidenceFiles, f.Name) {
			r.Evidence = append(r.Evidence, f)
		} else {
			r.Files = append(r.Files, f)
		}
	}
	m, err := r.Manifest()
	if err != nil {
		return nil, err
	}
	id, _ := m.Identity()
	r.Root, r.PythonRoot, r.Identity = m.Root(), m.PythonRoot(), string(id)
	return r, nil
}

// Manifest lists the model's files as package manifest does.
func (r *Record) Manifest() (*manifest.Manifest, error) {
	if len(r.Files) == 0 {
		return nil, fmt.Errorf("%w: it holds no files", manifest.ErrFolder)
	}
	m := &manifest.Manifest{Method: manifest.Files, Hash: manifest.SHA256}
	for _, f := range r.Files {
		d, err := hex.DecodeString(f.SHA256)
		if err != nil {
			return nil, err
		}
		m.Resources = append(m.Resources, manifest.Resource{Name: f.Name, Digest: d, Size: f.Bytes})
	}
	return m, nil
}

// encode gives the record's canonical bytes.
func (r *Record) encode() ([]byte, error) {
	b, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	if b, err = jcs.Transform(b); err != nil {
		return nil, err
	}
	return append(b, '\n'), nil
}

// parseRecord reads a record and checks everything that it says of itself.
func parseRecord(b []byte) (*Record, error) {
	var r Record
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("%w: something follows the record", ErrCorrupt)
	}
	if r.Format != recordFormat {
		return nil, fmt.Errorf("%w: format %q, want %q", ErrCorrupt, r.Format, recordFormat)
	}
	if err := r.check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return &r, nil
}

func (r *Record) check() error {
	for _, list := range [][]Stored{r.Files, r.Evidence} {
		if !slices.IsSortedFunc(list, func(a, b Stored) int { return strings.Compare(a.Name, b.Name) }) {
			return fmt.Errorf("files are not in the order of their names")
		}
		for i, f := range list {
			if err := CheckName(f.Name); err != nil {
				return err
			}
			if i > 0 && list[i-1].Name == f.Name {
				return fmt.Errorf("%q is listed twice", f.Name)
			}
			if !digestOK(f.SHA256) || f.Bytes < 0 {
				return fmt.Errorf("%q has the digest %q and %d bytes", f.Name, f.SHA256, f.Bytes)
			}
		}
	}
	for _, f := range r.Evidence {
		if !slices.Contains(manifest.EvidenceFiles, f.Name) {
			return fmt.Errorf("%q is no evidence file", f.Name)
		}
	}
	for _, d := range []string{r.Assessment, r.Receipt, r.Entry} {
		if d != "" && !digestOK(d) {
			return fmt.Errorf("%q is no digest", d)
		}
	}
	if c := r.Conversion; c != nil && (!digestOK(c.Root) || !digestOK(c.Converter) || !digestOK(strings.TrimPrefix(c.Identity, "sha256:"))) {
		return fmt.Errorf("the conversion's digests are malformed")
	}
	want, err := newRecord(r.Origin, slices.Concat(r.Files, r.Evidence))
	if err != nil {
		return err
	}
	if r.Root != want.Root || r.PythonRoot != want.PythonRoot || r.Identity != want.Identity {
		return fmt.Errorf("its files have the root %s and the identity %s, and it says %s and %s", want.Root, want.Identity, r.Root, r.Identity)
	}
	return nil
}

// blobs lists the digests of everything that the record needs.
func (r *Record) blobs() []string {
	var ds []string
	for _, f := range r.Files {
		ds = append(ds, f.SHA256)
	}
	for _, f := range r.Evidence {
		ds = append(ds, f.SHA256)
	}
	for _, d := range []string{r.Assessment, r.Receipt, r.Entry} {
		if d != "" {
			ds = append(ds, d)
		}
	}
	slices.Sort(ds)
	return slices.Compact(ds)
}

// saysNothingNew tells whether old already holds what r has to say. Assessments
// differ by the time they were made at, and receipts by their place in the
// ledger, so only what the checks came to counts, and that there is a receipt.
func (r *Record) saysNothingNew(old *Record) bool {
	return slices.Equal(r.Files, old.Files) && slices.Equal(r.Evidence, old.Evidence) && maps.Equal(r.States, old.States) &&
		(r.Receipt == "" || old.Receipt != "") &&
		(r.Conversion == nil || old.Conversion != nil && *r.Conversion == *old.Conversion)
}

// dir is where the records of the model lie.
func (r *Record) dir() string {
	return "models/" + r.Root + "/" + strings.TrimPrefix(r.Identity, "sha256:")
}

package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/supply/manifest"
)

// Admission is what the judgement says that lets a model in.
type Admission struct {
	// Manifest is what was judged. Where it is not what was brought in, the
	// quarantine was tampered with and nothing is admitted.
	Manifest   *manifest.Manifest
	Evidence   []record.Evidence
	Proof      *Proof // nil without a ledger
	Conversion *Conversion
}

// Proof is what the ledger gives about one of its entries.
type Proof struct {
	Receipt []byte `json:"receipt"` // C2SP tlog-proof
	Entry   []byte `json:"entry"`   // the bytes that it proves
}

// Admit makes the quarantined model part of the store and removes the
// quarantine. Until the last step nothing is admitted, after it everything.
// Admitting what is there already, with nothing new to say, gives the entry
// that is there. Errors: ErrCorrupt; those of the file system.
func (in *Intake) Admit(ctx context.Context, a Admission) (*Entry, error) {
	r, err := newRecord(in.origin, in.Files())
	if err != nil {
		return nil, err
	}
	if a.Manifest == nil {
		return nil, errors.New("nothing was judged")
	}
	if err := sameFiles(a.Manifest, r); err != nil {
		return nil, err
	}
	r.Conversion = a.Conversion
	r.States = map[record.EvidenceKind]record.EvidenceState{}
	for _, e := range a.Evidence {
		r.States[e.Kind] = e.State
	}
	s := in.store
	// Shared: no garbage is collected between the blobs and the record.
	lock, err := s.lock(ctx, lockFile, unix.LOCK_SH)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	if r.Assessment, err = s.putJSON(ctx, a.Evidence); err != nil {
		return nil, fmt.Errorf("keeping the assessment: %w", err)
	}
	if a.Proof != nil {
		if r.Receipt, _, err = s.Put(ctx, bytes.NewReader(a.Proof.Receipt), "", maxRecord); err == nil {
			r.Entry, _, err = s.Put(ctx, bytes.NewReader(a.Proof.Entry), "", maxRecord)
		}
		if err != nil {
			return nil, fmt.Errorf("keeping the ledger's proof: %w", err)
		}
	}
	if err := in.placeAll(ctx); err != nil {
		return nil, err
	}
	e, err := s.commit(ctx, r)
	if err != nil {
		return nil, err
	}
	return e, in.remove()
}

// sameFiles compares what was judged with what was hashed on its way in.
func sameFiles(m *manifest.Manifest, r *Record) error {
	want, err := r.Manifest()
	if err != nil {
		return err
	}
	if len(m.Resources) == len(want.Resources) {
		same := true
		for i, f := range want.Resources {
			g := m.Resources[i]
			same = same && f.Name == g.Name && f.Size == g.Size && bytes.Equal(f.Digest, g.Digest)
		}
		if same {
			return nil
		}
	}
	return fmt.Errorf("%w: the files that were judged are not the ones that were brought in; somebody else writes to the quarantine, or a blob is damaged (`weighbridge store fsck --repair` names it)", ErrCorrupt)
}

// placeAll makes every file of the quarantine a blob, for good.
func (in *Intake) placeAll(ctx context.Context) error {
	dirs := map[string]bool{}
	for _, f := range in.Files() {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := in.store.placeLink(in.path(f.Name), f.SHA256); err != nil {
			return err
		}
		dirs[path.Dir(blobName(f.SHA256))] = true
	}
	for d := range dirs {
		if err := in.store.syncDir(d); err != nil {
			return err
		}
	}
	return nil
}

// commit gives the record its name, unless the newest one of the model says as
// much.
func (s *Store) commit(ctx context.Context, r *Record) (*Entry, error) {
	dir := r.dir()
	if err := s.mkdir(dir); err != nil {
		return nil, fmt.Errorf("recording the model: %w", err)
	}
	lock, err := s.lock(ctx, "models/"+lockFile, unix.LOCK_EX)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	next := 1
	old, err := s.newest(dir)
	switch {
	case err == nil && r.saysNothingNew(old.Record):
		return old, nil
	case err == nil:
		// What the intake does not know of stays known.
		if r.Conversion == nil {
			r.Conversion = old.Record.Conversion
		}
		next = old.Version + 1
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	b, err := r.encode()
	if err != nil {
		return nil, err
	}
	if err := s.writeFile(versionName(dir, next), b); err != nil {
		return nil, fmt.Errorf("recording the model: %w", err)
	}
	return &Entry{Record: r, Version: next, store: s}, nil
}

func (s *Store) putJSON(ctx context.Context, v any) (string, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return "", err
	}
	d, _, err := s.Put(ctx, bytes.NewReader(b), "", maxRecord)
	return d, err
}

// Refusal is why a model stays out.
type Refusal struct {
	Format   string            `json:"format"`
	Origin   Origin            `json:"origin"`
	Problems []record.Problem  `json:"problems"`
	Evidence []record.Evidence `json:"evidence,omitempty"` // as far as it came
	Files    []Stored          `json:"files"`              // what had been brought in
	Proof    *Proof            `json:"proof,omitempty"`    // of the ledger
}

const refusalFormat = "weighbridge-refusal/1"

// Refuse moves the quarantine, with the reason, to where refused models wait to
// be looked at and then collected. It returns the folder.
func (in *Intake) Refuse(_ context.Context, r Refusal) (string, error) {
	r.Format, r.Origin, r.Files = refusalFormat, in.origin, in.Files()
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return "", err
	}
	s := in.store
	if err := s.writeFile(in.dir+"/"+reasonFile, append(b, '\n')); err != nil {
		return "", err
	}
	to := "refused/" + strings.TrimPrefix(in.dir, "quarantine/") + "-" + randomHex()[:8]
	if err := s.root.Rename(in.dir, to); err != nil {
		return "", fmt.Errorf("refusing the intake: %w", err)
	}
	err = errors.Join(s.syncDir("quarantine"), s.syncDir("refused"), in.Close())
	return path.Join(s.dir, to), err
}

// remove ends an intake whose model is admitted.
func (in *Intake) remove() error {
	s := in.store
	away := tempName()
	err := s.root.Rename(in.dir, away)
	if err == nil {
		err = s.root.RemoveAll(away)
	}
	return errors.Join(err, in.Close())
}

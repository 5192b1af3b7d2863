package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/weighbridge/weighbridge/supply/manifest"
)

// Origin names where a model comes from. The same origin resumes the same
// interrupted intake.
type Origin struct {
	Kind     string `json:"kind"`     // file, folder, ollama, huggingface, oci, conversion
	Location string `json:"location"` // as the user wrote it; hostile text for kinds that come from elsewhere
}

// Limits bound what one intake may bring in. A zero field means its default.
type Limits struct {
	File  int64 // bytes of one file; default 1 TiB
	Total int64 // bytes of all files; default 4 TiB
	Files int   // default 100,000
}

func (l Limits) withDefaults() Limits {
	if l.File == 0 {
		l.File = 1 << 40
	}
	if l.Total == 0 {
		l.Total = 4 << 40
	}
	if l.Files == 0 {
		l.Files = 100_000
	}
	return l
}

// File is one file that a source offers.
type File struct {
	Name   string // slash-separated path inside the model's folder; see CheckName
	Size   int64  // bytes as the source names them, -1 where it does not
	SHA256 string // as the source names it, 64 hex digits, or ""
	// Open gives the content from offset on, which is 0 unless Resumable.
	Open func(ctx context.Context, offset int64) (io.ReadCloser, error)
	// Resumable says that Open takes any offset. It needs SHA256: without it
	// nobody could tell whether the two halves belong together.
	Resumable bool
	// Also takes the whole content as it passes, when set: for digests other
	// than SHA-256. Accept is asked at the end whether that digest is right.
	Also   io.Writer
	Accept func() error
}

// Stored is a file that lies in the quarantine.
type Stored struct {
	Name   string `json:"name"`
	SHA256 string `json:"sha256"`
	Bytes  int64  `json:"bytes"`
}

const (
	journalFile = "journal.json"
	reasonFile  = "refusal.json"
	modelDir    = "model"
	partialDir  = "partial"
)

type journal struct {
	Format string `json:"format"`
	Origin Origin `json:"origin"`
}

// Intake is a model in quarantine. It belongs to one goroutine.
type Intake struct {
	// ID names the quarantine.
	ID string
	// Resumed says that an interrupted intake of the origin is gone on with.
	Resumed bool

	origin Origin
	store  *Store
	dir    string // inside the store
	lock   *os.File
	model  *os.Root // the model's folder: names from outside end here
	limits Limits
	files  map[string]Stored
	bytes  int64
}

// Begin opens a quarantine for a model from origin, or goes on with one that
// was interrupted. Other intakes of the same origin, also of other processes,
// get quarantines of their own. End it by Admit, Refuse or Close.
func (s *Store) Begin(ctx context.Context, o Origin, l Limits) (*Intake, error) {
	if o.Kind == "" {
		return nil, errors.New("an intake needs an origin")
	}
	sum := sha256.Sum256([]byte(o.Kind + "\x00" + o.Location))
	for n := range 1000 {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		id := fmt.Sprintf("%s-%d", hex.EncodeToString(sum[:8]), n)
		in, err := s.enter(id)
		if err != nil {
			return nil, fmt.Errorf("beginning an intake: %w", err)
		}
		if in == nil {
			continue // another intake is at work there
		}
		in.origin, in.limits = o, l.withDefaults()
		if err := in.prepare(); err != nil {
			return nil, errors.Join(fmt.Errorf("beginning an intake: %w", err), in.Close())
		}
		return in, nil
	}
	return nil, fmt.Errorf("%w: 1000 intakes of %q are running", ErrStore, o.Location)
}

// enter locks a quarantine, or gives nil when somebody else has it.
func (s *Store) enter(id string) (*Intake, error) {
	dir := "quarantine/" + id
	for {
		if err := s.mkdir(dir); err != nil {
			return nil, err
		}
		f, err := s.root.OpenFile(dir+"/"+lockFile, os.O_RDWR|os.O_CREATE, 0o600)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it was just finished and removed
		}
		if err != nil {
			return nil, err
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			f.Close()
			if errors.Is(err, unix.EWOULDBLOCK) {
				return nil, nil
			}
			return nil, err
		}
		// Who had it before may have removed the folder meanwhile.
		held, err := f.Stat()
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		if now, err := s.root.Lstat(dir + "/" + lockFile); err != nil || !os.SameFile(held, now) {
			f.Close()
			continue
		}
		return &Intake{ID: id, store: s, dir: dir, lock: f, files: map[string]Stored{}}, nil
	}
}

// prepare reads or writes the journal and opens the folders.
func (in *Intake) prepare() error {
	s := in.store
	b, err := s.readFile(in.dir+"/"+journalFile, 1<<20)
	switch {
	case err == nil:
		var j journal
		if err := json.Unmarshal(b, &j); err != nil || j.Format != format || j.Origin != in.origin {
			return fmt.Errorf("%w: %s/%s is not of this origin; move the folder away", ErrCorrupt, in.dir, journalFile)
		}
		in.Resumed = true
	case errors.Is(err, fs.ErrNotExist):
		b, err := json.Marshal(journal{format, in.origin})
		if err != nil {
			return err
		}
		if err := s.writeFile(in.dir+"/"+journalFile, append(b, '\n')); err != nil {
			return err
		}
	default:
		return err
	}
	for _, d := range []string{modelDir, partialDir} {
		if err := s.mkdir(in.dir + "/" + d); err != nil {
			return err
		}
	}
	in.model, err = s.root.OpenRoot(in.dir + "/" + modelDir)
	return err
}

// Add brings one file into the quarantine: from the store where it is known
// there, from where an interrupted intake stopped, or from the source.
//
// Errors: *Violation; the source's own; io.ErrUnexpectedEOF where the source
// ends before Size; those of the file system.
func (in *Intake) Add(ctx context.Context, f File) (Stored, error) {
	if err := CheckName(f.Name); err != nil {
		return Stored{}, err
	}
	if f.SHA256 != "" && !digestOK(f.SHA256) {
		return Stored{}, &Violation{RuleDigest, f.Name, fmt.Sprintf("%q is no SHA-256 in hex", f.SHA256)}
	}
	if _, ok := in.files[f.Name]; ok {
		return Stored{}, &Violation{RuleDuplicate, f.Name, "the source names it twice"}
	}
	if len(in.files) >= in.limits.Files {
		return Stored{}, &Violation{RuleTooLarge, f.Name, fmt.Sprintf("more than %d files", in.limits.Files)}
	}
	limit := min(in.limits.File, in.limits.Total-in.bytes)
	if f.Size > limit {
		return Stored{}, &Violation{RuleTooLarge, f.Name, fmt.Sprintf("it has %d bytes where %d are allowed", f.Size, limit)}
	}
	got, err := in.take(ctx, f, limit)
	if err != nil {
		var v *Violation
		if errors.As(err, &v) {
			return Stored{}, &Violation{v.Rule, f.Name, v.Detail}
		}
		return Stored{}, fmt.Errorf("bringing in %q: %w", f.Name, err)
	}
	in.files[f.Name] = got
	in.bytes += got.Bytes
	return got, nil
}

func (in *Intake) take(ctx context.Context, f File, limit int64) (Stored, error) {
	if dir := path.Dir(f.Name); dir != "." {
		if err := in.model.MkdirAll(dir, 0o700); err != nil {
			return Stored{}, err
		}
	}
	if f.SHA256 != "" && f.Accept == nil {
		if got, ok, err := in.have(ctx, f, limit); ok || err != nil {
			return got, err
		}
	}
	return in.fetch(ctx, f, limit)
}

// have takes the file from an earlier attempt or from the store.
func (in *Intake) have(ctx context.Context, f File, limit int64) (Stored, bool, error) {
	old, err := in.model.Open(f.Name)
	if err == nil {
		h := sha256.New()
		n, err := stream(ctx, io.Discard, h, old, limit)
		old.Close()
		if err == nil && hex.EncodeToString(h.Sum(nil)) == f.SHA256 && (f.Size < 0 || n == f.Size) {
			return Stored{f.Name, f.SHA256, n}, true, nil
		}
		if ctx.Err() != nil {
			return Stored{}, false, ctx.Err()
		}
		if err := in.model.Remove(f.Name); err != nil {
			return Stored{}, false, err
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return Stored{}, false, err
	}
	b, n, err := in.store.OpenBlob(f.SHA256)
	if errors.Is(err, fs.ErrNotExist) {
		return Stored{}, false, nil
	}
	if err != nil {
		return Stored{}, false, err
	}
	b.Close()
	if f.Size >= 0 && n != f.Size {
		return Stored{}, false, &Violation{RuleSize, f.Name, fmt.Sprintf("%d bytes are named for a content of %d", f.Size, n)}
	}
	if n > limit {
		return Stored{}, false, &Violation{RuleTooLarge, f.Name, fmt.Sprintf("it has %d bytes where %d are allowed", n, limit)}
	}
	if err := in.store.root.Link(blobName(f.SHA256), in.path(f.Name)); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return Stored{}, false, nil // collected in this moment
		}
		return Stored{}, false, err
	}
	return Stored{f.Name, f.SHA256, n}, true, nil
}

// fetch takes the file from its source, through partial/.
func (in *Intake) fetch(ctx context.Context, f File, limit int64) (_ Stored, err error) {
	root := in.store.root
	sum := sha256.Sum256([]byte(f.Name))
	part := in.dir + "/" + partialDir + "/" + hex.EncodeToString(sum[:])
	flags := os.O_RDWR | os.O_CREATE
	resume := f.Resumable && f.SHA256 != "" && f.Accept == nil
	if !resume {
		flags |= os.O_TRUNC
	}
	w, err := root.OpenFile(part, flags, 0o600)
	if errors.Is(err, fs.ErrPermission) { // sealed, then killed before its name
		if err = root.Remove(part); err == nil {
			w, err = root.OpenFile(part, flags|os.O_EXCL, 0o600)
		}
	}
	if err != nil {
		return Stored{}, err
	}
	defer func() { err = errors.Join(err, w.Close()) }()

	h := sha256.New()
	done, err := stream(ctx, io.Discard, h, w, limit) // what an earlier attempt got
	if err != nil {
		return Stored{}, errors.Join(err, root.Remove(part))
	}
	if f.Size >= 0 && done > f.Size {
		if done, err = 0, w.Truncate(0); err == nil {
			_, err = w.Seek(0, io.SeekStart)
		}
		if err != nil {
			return Stored{}, err
		}
		h.Reset()
	}
	n := done
	if f.Size < 0 || done < f.Size || done == 0 {
		if n, err = in.pull(ctx, w, h, f, done, limit); err != nil {
			return Stored{}, err
		}
	}
	got := Stored{f.Name, hex.EncodeToString(h.Sum(nil)), n}
	if f.SHA256 != "" && got.SHA256 != f.SHA256 {
		return Stored{}, errors.Join(&Violation{RuleDigest, f.Name, fmt.Sprintf("its SHA-256 is %s where the source names %s", got.SHA256, f.SHA256)}, root.Remove(part))
	}
	if f.Accept != nil {
		if err := f.Accept(); err != nil {
			return Stored{}, errors.Join(err, root.Remove(part))
		}
	}
	if err := seal(w); err != nil {
		return Stored{}, err
	}
	return got, root.Rename(part, in.path(f.Name))
}

// pull copies from the source what is missing and gives the whole size.
func (in *Intake) pull(ctx context.Context, w io.Writer, h hash.Hash, f File, done, limit int64) (int64, error) {
	r, err := f.Open(ctx, done)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	if f.Size >= 0 {
		limit = f.Size
	}
	also := io.Discard
	if f.Also != nil {
		also = f.Also
	}
	n, err := stream(ctx, io.MultiWriter(w, also), h, r, limit-done)
	var v *Violation
	switch {
	case errors.As(err, &v) && f.Size >= 0:
		return 0, &Violation{RuleSize, f.Name, fmt.Sprintf("more than the %d bytes that the source names", f.Size)}
	case err != nil:
		return 0, err
	case f.Size >= 0 && done+n < f.Size:
		return 0, fmt.Errorf("it ends after %d of %d bytes: %w", done+n, f.Size, io.ErrUnexpectedEOF)
	}
	return done + n, nil
}

func (in *Intake) path(name string) string { return in.dir + "/" + modelDir + "/" + name }

// Origin is what Begin was given.
func (in *Intake) Origin() Origin { return in.origin }

// Store is where the intake belongs.
func (in *Intake) Store() *Store { return in.store }

// Files lists what was added, sorted by name.
func (in *Intake) Files() []Stored {
	fs := make([]Stored, 0, len(in.files))
	for _, f := range in.files {
		fs = append(fs, f)
	}
	slices.SortFunc(fs, func(a, b Stored) int { return strings.Compare(a.Name, b.Name) })
	return fs
}

// Folder is the quarantined model as a folder, with nothing in it but what was
// added: what an earlier attempt left besides is removed. It is what has to be
// judged.
func (in *Intake) Folder() (string, error) {
	err := fs.WalkDir(in.model.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if _, ok := in.files[name]; !ok {
			return in.model.Remove(name)
		}
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("tidying the quarantine: %w", err)
	}
	return filepath.Join(in.store.dir, filepath.FromSlash(in.dir), modelDir), nil
}

// Close lets go of the quarantine without an end: the next Begin of the same
// origin goes on with it. After Admit or Refuse it does nothing.
func (in *Intake) Close() error {
	if in.lock == nil {
		return nil
	}
	var err error
	if in.model != nil {
		err = in.model.Close()
	}
	err = errors.Join(err, in.lock.Close())
	in.lock = nil
	return err
}

// Open opens a file that was added, for reading.
func (in *Intake) Open(name string) (*os.File, error) {
	if _, ok := in.files[name]; !ok {
		return nil, fmt.Errorf("%q was not brought in: %w", name, fs.ErrNotExist)
	}
	return in.model.Open(name)
}

// Manifest lists what was added so far as package manifest does, without the
// evidence files.
func (in *Intake) Manifest() (*manifest.Manifest, error) {
	r, err := newRecord(in.origin, in.Files())
	if err != nil {
		return nil, err
	}
	return r.Manifest()
}

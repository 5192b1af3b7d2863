package manifest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"unicode/utf8"

	"github.com/weighbridge/weighbridge/record"
)

// The limits of a folder. A published model has some tens of files, three
// deep; past these a folder is an attack on whoever reads it.
const (
	MaxDepth   = 256       // folders inside each other
	MaxEntries = 1_000_000 // files, folders and links together
	MaxName    = 4096      // bytes of a path relative to the folder
	// maxProblems bounds what is said about one folder.
	maxProblems = 100
)

// The rules of [FolderError]'s problems.
const (
	RuleEmpty   = "folder-empty"    // no files
	RuleSymlink = "folder-symlink"  // a symlink where none is allowed
	RuleEscape  = "folder-escape"   // a symlink out of the folder
	RuleBroken  = "folder-broken"   // a symlink to nothing
	RuleCycle   = "folder-cycle"    // a symlink to a folder that it lies in
	RuleSpecial = "folder-special"  // socket, fifo, device
	RuleName    = "folder-name"     // a name that cannot be signed
	RuleDeep    = "folder-deep"     // deeper than MaxDepth
	RuleEntries = "folder-entries"  // more than MaxEntries
	RuleChanged = "folder-changed"  // changed while it was read
	RuleIgnore  = "folder-ignore"   // a path to ignore that is none
	RuleFile    = "folder-not-file" // a folder where a file is wanted, or the reverse
)

// entry is a file that was found, as it was when it was found.
type entry struct {
	name  string
	stamp stamp
}

// walker collects the regular files of a folder. It goes by names and Lstat
// through one [os.Root] only: what a directory says about the type of its
// entries is not believed.
type walker struct {
	root    *os.Root
	o       Options
	skip    []string
	only    func(name string, isDir bool) bool // nil: everything
	seen    int
	entries []entry
	faults  []record.Problem
	// within are the folders on the way from the top to here, to find cycles.
	within []fs.FileInfo
}

// errStop ends a walk that a fault made pointless.
var errStop = errors.New("stop")

func (w *walker) fault(rule, subject, format string, args ...any) error {
	w.faults = append(w.faults, record.Problem{Rule: rule, Subject: subject, Detail: fmt.Sprintf(format, args...)})
	if len(w.faults) == maxProblems {
		return errStop
	}
	return nil
}

// list finds the files, in the order of their names as bytes.
func list(ctx context.Context, root *os.Root, o Options) ([]entry, error) {
	w := &walker{root: root, o: o, skip: slices.Concat(GitPaths, EvidenceFiles)}
	w.skip = slices.DeleteFunc(w.skip, func(s string) bool { return slices.Contains(o.Keep, s) })
	for _, p := range o.Ignore {
		clean, err := CleanIgnore(p)
		if err != nil {
			if w.fault(RuleIgnore, p, "%v", err) != nil {
				break
			}
			continue
		}
		w.skip = append(w.skip, clean)
	}
	if o.Only != nil {
		w.only = onlySet(o.Only)
	}
	top, err := root.Lstat(".")
	if err != nil {
		return nil, err
	}
	w.within = []fs.FileInfo{top}
	if err := w.dir(ctx, "."); err != nil && err != errStop {
		return nil, err
	}
	if len(w.faults) == 0 && len(w.entries) == 0 && w.only == nil {
		w.fault(RuleEmpty, ".", "it holds no files; an empty model cannot be signed or verified")
	}
	if len(w.faults) > 0 {
		slices.SortFunc(w.faults, func(a, b record.Problem) int {
			return strings.Compare(a.Subject+"\x00"+a.Rule, b.Subject+"\x00"+b.Rule)
		})
		return nil, &FolderError{Problems: w.faults}
	}
	slices.SortFunc(w.entries, func(a, b entry) int { return strings.Compare(a.name, b.name) })
	return w.entries, nil
}

func (w *walker) dir(ctx context.Context, dir string) error {
	f, err := w.root.OpenFile(dir, os.O_RDONLY|syscall.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	var names []string
	for {
		some, err := f.Readdirnames(1024)
		names = append(names, some...)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return errors.Join(err, f.Close())
		}
		if w.seen += len(some); w.seen > MaxEntries {
			f.Close()
			w.fault(RuleEntries, dir, "more than %d files and folders", MaxEntries)
			return errStop
		}
		if err := ctx.Err(); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	if err := f.Close(); err != nil {
		return err
	}
	slices.Sort(names) // faults past maxProblems are cut, always at the same place
	for _, name := range names {
		if err := w.visit(ctx, path.Join(dir, name), name); err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) visit(ctx context.Context, name, base string) error {
	if slices.Contains(w.skip, name) {
		return nil
	}
	info, err := w.root.Lstat(name)
	if err != nil {
		return err
	}
	if w.only != nil && !w.only(name, !info.Mode().IsRegular()) {
		return nil
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		if !w.o.AllowSymlinks {
			return w.fault(RuleSymlink, name, "it is a symlink; put the file itself there, links are neither signed nor followed")
		}
		if info, err = w.root.Stat(name); err != nil {
			switch {
			case errors.Is(err, fs.ErrNotExist):
				return w.fault(RuleBroken, name, "it is a symlink to nothing")
			case errors.Is(err, syscall.ELOOP):
				return w.fault(RuleCycle, name, "it is a symlink to itself")
			case isEscape(err):
				return w.fault(RuleEscape, name, "it is a symlink out of the folder")
			}
			return err
		}
	}
	if why := NameFault(name); why != "" {
		return w.fault(RuleName, name, "%s", why)
	}
	switch mode := info.Mode(); {
	case mode.IsDir():
		if len(w.within) > MaxDepth {
			return w.fault(RuleDeep, name[:min(len(name), 64)]+"…", "deeper than %d folders", MaxDepth)
		}
		if slices.ContainsFunc(w.within, func(up fs.FileInfo) bool { return os.SameFile(up, info) }) {
			return w.fault(RuleCycle, name, "it is a symlink to a folder that it lies in")
		}
		w.within = append(w.within, info)
		defer func() { w.within = w.within[:len(w.within)-1] }()
		return w.dir(ctx, name)
	case !mode.IsRegular():
		return w.fault(RuleSpecial, name, "it is a %s, not a regular file", kindOf(mode))
	}
	w.entries = append(w.entries, entry{name: name, stamp: stampOf(info)})
	return nil
}

// isEscape knows the error of an [os.Root] whose border a link crosses; the
// package exports no sentinel for it.
func isEscape(err error) bool {
	var p *fs.PathError
	return errors.As(err, &p) && p.Err != nil && strings.Contains(p.Err.Error(), "escapes")
}

func kindOf(m fs.FileMode) string {
	switch {
	case m&fs.ModeNamedPipe != 0:
		return "fifo"
	case m&fs.ModeSocket != 0:
		return "socket"
	case m&fs.ModeDevice != 0:
		return "device"
	}
	return m.Type().String()
}

// NameFault says why a name, relative and slash-separated, cannot stand in a
// manifest, or "" where it can. Backslashes and control characters are refused
// although OMS lets them be: a name must mean the same file on every system
// and print on one line.
func NameFault(name string) string {
	switch {
	case len(name) > MaxName:
		return fmt.Sprintf("the name has %d bytes, and %d are the limit", len(name), MaxName)
	case !utf8.ValidString(name):
		return "the name is not UTF-8"
	case !fs.ValidPath(name) || name == ".":
		return "the name is not a clean relative path (no leading slash, no empty, \".\" or \"..\" part)"
	case strings.ContainsRune(name, '\\'):
		return "the name has a backslash, which separates folders on other systems"
	case strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return "the name has a control character"
	}
	return ""
}

// CleanIgnore gives the form in which a path to ignore is compared: relative,
// clean, without a trailing slash. There are no patterns.
func CleanIgnore(p string) (string, error) {
	clean := path.Clean(p)
	if p == "" || clean == "." || !filepath.IsLocal(clean) || NameFault(clean) != "" {
		return "", fmt.Errorf("%q is no path inside the folder that could be left out", p)
	}
	return clean, nil
}

// Covered reports whether name is one of the paths or lies below one.
func Covered(name string, paths []string) bool {
	return slices.ContainsFunc(paths, func(p string) bool {
		return name == p || len(name) > len(p) && name[len(p)] == '/' && name[:len(p)] == p
	})
}

// onlySet keeps the named files and the folders on the way to them.
func onlySet(names []string) func(string, bool) bool {
	files, dirs := make(map[string]bool, len(names)), map[string]bool{}
	for _, n := range names {
		files[n] = true
		for d := path.Dir(n); d != "." && d != "/" && !dirs[d]; d = path.Dir(d) {
			dirs[d] = true
		}
	}
	return func(name string, isDir bool) bool { return files[name] || isDir && dirs[name] }
}

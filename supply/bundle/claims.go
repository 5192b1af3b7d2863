package bundle

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/weighbridge/weighbridge/internal/durable"
)

// The limits of a claims file.
const (
	MaxClaims     = 10_000    // bundles
	MaxClaimsFile = 256 << 20 // bytes
)

// ReadClaims reads a file of bundles, one a line; empty lines do not count. A
// file that is not there holds no claims. Statements may be of the further
// types allowed.
//
// Where lines cannot be used, the others are given all the same, with an error
// that wraps ErrFormat and names the first of them; every other error comes
// alone.
func ReadClaims(path string, allow ...string) ([]*Bundle, error) {
	lines, err := readLines(path)
	if err != nil && !errors.Is(err, ErrFormat) {
		return nil, err
	}
	var found []*Bundle
	first, more := err, 0
	for i, line := range lines {
		if len(line) == 0 {
			continue
		}
		b, err := Parse(line, allow...)
		if err != nil {
			if first == nil {
				first = fmt.Errorf("%s:%d: %w", path, i+1, err)
			} else {
				more++
			}
			continue
		}
		b.Line = i + 1
		found = append(found, b)
	}
	if more > 0 {
		first = fmt.Errorf("%w (and %d more lines)", first, more)
	}
	return found, first
}

// readLines splits the file; past a limit it gives what came before it and an
// error that wraps ErrFormat.
func readLines(path string) ([][]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() {
		return nil, Faultf(ErrFormat, RuleLine, "%s is not a regular file", path)
	} else if info.Size() > MaxClaimsFile {
		return nil, Faultf(ErrFormat, RuleLine, "%s has %d bytes; the limit is %d", path, info.Size(), MaxClaimsFile)
	}
	var lines [][]byte
	r := bufio.NewReaderSize(io.LimitReader(f, MaxClaimsFile), 1<<20)
	for {
		line, err := r.ReadBytes('\n')
		if len(line) > 0 {
			if len(lines) == MaxClaims {
				return lines, Faultf(ErrFormat, RuleLine, "%s:%d: more than %d claims", path, len(lines)+1, MaxClaims)
			}
			lines = append(lines, bytes.TrimSpace(line))
		}
		if err == io.EOF {
			return lines, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// AppendClaim puts a bundle at the end of the claims file, and makes the file
// where there is none. It is on disk when AppendClaim returns; a crash leaves
// the file with it or without it. A bundle that is there already is not added
// again. Processes that append at the same time wait for each other.
func AppendClaim(path string, raw []byte) (err error) {
	if _, err := Parse(raw, StatementTypeV01); err != nil {
		return err
	}
	var line bytes.Buffer
	if err := json.Compact(&line, raw); err != nil {
		return err
	}
	unlock, err := lockFolder(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	lines, err := readLines(path)
	if err != nil {
		return err
	}
	size := 0
	for _, l := range lines {
		if bytes.Equal(l, line.Bytes()) {
			return nil
		}
		size += len(l) + 1
	}
	if len(lines) >= MaxClaims || size+line.Len() >= MaxClaimsFile {
		return Faultf(ErrFormat, RuleLine, "%s is full with %d claims in %d bytes", path, len(lines), size)
	}
	return durable.Write(path, 0o644, func(w io.Writer) error {
		for _, l := range append(lines, line.Bytes()) {
			if _, err := w.Write(append(l, '\n')); err != nil {
				return err
			}
		}
		return nil
	})
}

// lockFolder keeps other processes out of the folder's claims. The lock lies on
// the folder itself: a lock file would be one more file of the model.
func lockFolder(dir string) (unlock func() error, err error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	for {
		err = syscall.Flock(int(d.Fd()), syscall.LOCK_EX)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("locking %s: %w", dir, err), d.Close())
	}
	return d.Close, nil
}

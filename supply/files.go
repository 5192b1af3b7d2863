package supply

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/supply/bundle"
	"github.com/weighbridge/weighbridge/supply/manifest"
)

// files are the evidence files of a folder, read once.
type files struct {
	content map[string][]byte
	bad     map[string]record.Problem // those that are there and cannot be read
}

// limits of the evidence files, in bytes.
var limits = map[string]int64{
	manifest.SignatureFile:  bundle.MaxBundle,
	manifest.ClaimsFile:     bundle.MaxClaimsFile,
	manifest.BOMFile:        32 << 20,
	manifest.ProvenanceFile: 32 << 20,
}

func readFiles(dir string) (files, error) {
	out := files{map[string][]byte{}, map[string]record.Problem{}}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return out, err
	}
	defer root.Close()
	for _, name := range manifest.EvidenceFiles {
		src, why, err := readFile(root, name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return out, err
		case why != "":
			out.bad[name] = record.Problem{Rule: RuleNotRegular, Subject: name, Detail: why}
		default:
			out.content[name] = src
		}
	}
	return out, nil
}

// readFile gives the content, or why it is none that can be judged.
func readFile(root *os.Root, name string) (src []byte, why string, err error) {
	info, err := root.Lstat(name)
	if err != nil {
		return nil, "", err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Sprintf("it is a %s, not a regular file", info.Mode().Type()), nil
	}
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, "", err
	}
	defer f.Close()
	limit := limits[name]
	if src, err = io.ReadAll(io.LimitReader(f, limit+1)); err != nil {
		return nil, "", err
	}
	if int64(len(src)) > limit {
		return nil, fmt.Sprintf("it has more than %d bytes", limit), nil
	}
	return src, "", nil
}

// recheck proves that the files still hold what was judged. They are small:
// reading them again is the stronger proof.
func (f files) recheck(dir string) error {
	now, err := readFiles(dir)
	if err != nil {
		return err
	}
	for _, name := range manifest.EvidenceFiles {
		old, was := f.content[name]
		src, is := now.content[name]
		if was != is || !bytes.Equal(old, src) {
			return fmt.Errorf("%s: %w", dir, &manifest.FolderError{Problems: []record.Problem{{
				Rule: manifest.RuleChanged, Subject: name, Detail: "it changed while it was judged; nothing was concluded, try again when nobody writes there",
			}}})
		}
	}
	return nil
}

func digest(src []byte) string {
	sum := sha256.Sum256(src)
	return "sha256:" + hex.EncodeToString(sum[:])
}

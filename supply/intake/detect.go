package intake

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Detect says what source the user means:
//
//	ollama:NAME[@DIR]    a model of an Ollama store; DIR without @ is ollamaDir
//	hf:DIR[@REVISION]    a repository of a Hugging Face cache
//	PATH                 a file or a folder; both stores above are recognised
//
// Schemes of other packages (oci:) are not known here. Errors: ErrSource; those
// of the file system.
func Detect(src, ollamaDir string) (Source, error) {
	if rest, ok := strings.CutPrefix(src, "ollama:"); ok {
		name, dir, ok := strings.Cut(rest, "@")
		if !ok {
			dir = ollamaDir
		}
		if dir == "" {
			return nil, fmt.Errorf("%w: write ollama:NAME@DIR, where DIR holds manifests and blobs", ErrSource)
		}
		if _, err := ollamaPath(name); err != nil {
			return nil, err
		}
		return Ollama{Dir: dir, Name: name}, nil
	}
	if rest, ok := strings.CutPrefix(src, "hf:"); ok {
		dir, rev, _ := strings.Cut(rest, "@")
		if !isHub(dir) {
			return nil, fmt.Errorf("%w: %s has no snapshots folder; name the folder models--ORG--NAME of the cache", ErrSource, dir)
		}
		return HuggingFace{Dir: dir, Revision: rev}, nil
	}
	st, err := os.Stat(src)
	if errors.Is(err, fs.ErrNotExist) && strings.Contains(src, ":") {
		return nil, fmt.Errorf("%w: %s is no path and has no known scheme (ollama:, hf:, oci:): %w", ErrSource, src, err)
	}
	if err != nil {
		return nil, err
	}
	switch {
	case st.Mode().IsRegular():
		if archive(src) {
			return nil, fmt.Errorf("%w: %s is an archive; unpack it, or name it as oci: if it is an OCI layout", ErrSource, src)
		}
		return File{Path: src}, nil
	case !st.IsDir():
		return nil, fmt.Errorf("%w: %s is neither a file nor a folder", ErrSource, src)
	case isDir(src, "manifests") && isDir(src, "blobs"):
		return nil, fmt.Errorf("%w: %s is an Ollama store; name a model in it: ollama:NAME@%s", ErrSource, src, src)
	case isHub(src):
		return HuggingFace{Dir: src}, nil
	}
	// A snapshot inside a cache: its files are symlinks out of the folder.
	if abs, err := filepath.Abs(src); err == nil && filepath.Base(filepath.Dir(abs)) == "snapshots" {
		if dir := filepath.Dir(filepath.Dir(abs)); isHub(dir) {
			return HuggingFace{Dir: dir, Revision: filepath.Base(abs)}, nil
		}
	}
	return Folder{Path: src}, nil
}

func isHub(dir string) bool { return isDir(dir, "snapshots") && isDir(dir, "blobs") }

func isDir(dir, name string) bool {
	st, err := os.Lstat(filepath.Join(dir, name))
	return err == nil && st.IsDir()
}

// archive looks for what is certainly no weight file: tar, gzip, zstd and xz.
func archive(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false // reading it will say so
	}
	defer f.Close()
	head := make([]byte, 512)
	n, _ := f.Read(head)
	head = head[:n]
	for _, magic := range []string{"\x1f\x8b", "\x28\xb5\x2f\xfd", "\xfd7zXZ\x00"} {
		if bytes.HasPrefix(head, []byte(magic)) {
			return true
		}
	}
	return n > 262 && string(head[257:262]) == "ustar"
}

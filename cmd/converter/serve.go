package main

import (
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"strings"
	"sync"
	"unicode"

	"github.com/ollama/ollama/convert"

	"github.com/weighbridge/weighbridge/supply/intake/convert/protocol"
)

// server converts the folder once per request, one at a time.
type server struct {
	folder fs.FS
	tmp    string
	mu     sync.Mutex
}

func handler(folder fs.FS, tmp string) http.Handler { return &server{folder: folder, tmp: tmp} }

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost || r.URL.Path != protocol.Path {
		http.NotFound(w, r)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Trailer", protocol.Status)
	w.WriteHeader(http.StatusOK)
	status := protocol.Done
	if err := s.convert(w); err != nil {
		fmt.Fprintf(os.Stderr, "converter: %v\n", err)
		status = oneLine(err.Error())
	}
	w.Header().Set(protocol.Status, status)
}

// convert writes the file to w. Whatever the folder makes convert do, panics
// included, becomes an error.
func (s *server) convert(w http.ResponseWriter) (err error) {
	f, err := os.CreateTemp(s.tmp, "gguf-*")
	if err != nil {
		return err
	}
	defer f.Close()
	if err := os.Remove(f.Name()); err != nil {
		return err
	}
	out := &stream{FS: s.folder, file: f, to: w}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the conversion panicked: %v", p)
		}
	}()
	if err := convert.ConvertModel(out, f); err != nil {
		return err
	}
	return out.send()
}

// oneLine makes text fit for a header.
func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		if r > unicode.MaxASCII || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
	if s = strings.TrimSpace(s); s == "" || s == protocol.Done {
		s = "failed without a reason"
	}
	return s[:min(len(s), protocol.MaxStatus)]
}

package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"

	"golang.org/x/sys/unix"
)

// stream is the folder that convert reads, and sends what convert has written
// every time that it opens a file to read the next tensor.
//
// That works because convert writes from front to back: header, metadata, and
// tensor after tensor, with one goroutine under GOMAXPROCS=1, and each tensor
// opens its source when its turn comes. At that moment everything below the
// file's size is final. TestStreamSendsWhatConvertWrites holds it to that.
type stream struct {
	fs.FS
	file *os.File
	to   http.ResponseWriter
	sent int64
}

// Open implements fs.FS.
func (s *stream) Open(name string) (fs.File, error) {
	if err := s.send(); err != nil {
		return nil, err
	}
	return s.FS.Open(name)
}

// send sends what was written since the last time and frees its room.
func (s *stream) send() error {
	st, err := s.file.Stat()
	if err != nil {
		return err
	}
	n := st.Size() - s.sent
	if n == 0 {
		return nil
	}
	if _, err := io.Copy(struct{ io.Writer }{s.to}, io.NewSectionReader(s.file, s.sent, n)); err != nil {
		return fmt.Errorf("sending the file: %w", err)
	}
	if f, ok := s.to.(http.Flusher); ok {
		f.Flush()
	}
	s.sent += n
	// From the start each time: a page is freed only when all of it is sent.
	// Where a runtime cannot punch holes (gVisor), /tmp has to hold the file.
	err = unix.Fallocate(int(s.file.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, s.sent)
	if err != nil && !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.EPERM) {
		return fmt.Errorf("freeing what was sent: %w", err)
	}
	return nil
}

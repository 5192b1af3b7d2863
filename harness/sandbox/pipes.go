package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/containerd/containerd/v2/pkg/cio"
	"golang.org/x/sys/unix"
)

// pipes are the FIFOs between us and the shim. They are opened non-blocking, so
// that the Go runtime polls them and deadlines and Close work.
type pipes struct {
	dir                   string
	stdin, stdout, stderr *os.File
}

func newPipes(dir string) (_ *pipes, err error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the box's pipes: %w", err)
	}
	p := &pipes{dir: dir}
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	open := func(name string, flags int) (*os.File, error) {
		path := filepath.Join(dir, name)
		if err := unix.Mkfifo(path, 0o600); err != nil {
			return nil, fmt.Errorf("making %s: %w", path, err)
		}
		return os.OpenFile(path, flags|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	}
	// Read-write, because a FIFO without a reader cannot be opened for writing
	// alone, and the shim opens its end later. The end of the box closes it.
	if p.stdin, err = open("stdin", os.O_RDWR); err != nil {
		return nil, err
	}
	if p.stdout, err = open("stdout", os.O_RDONLY); err != nil {
		return nil, err
	}
	p.stderr, err = open("stderr", os.O_RDONLY)
	return p, err
}

// close closes what newPipes opened and removes the FIFOs.
func (p *pipes) close() error {
	var errs []error
	for _, f := range []*os.File{p.stdin, p.stdout, p.stderr} {
		if f == nil {
			continue
		}
		if err := f.Close(); !errors.Is(err, os.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(append(errs, os.RemoveAll(p.dir))...)
}

// attach is a cio.Creator: it tells containerd where the FIFOs are. Their
// lifetime is the box's, not the task's.
func (p *pipes) attach(string) (cio.IO, error) {
	return attached{cio.Config{
		Stdin:  filepath.Join(p.dir, "stdin"),
		Stdout: filepath.Join(p.dir, "stdout"),
		Stderr: filepath.Join(p.dir, "stderr"),
	}}, nil
}

type attached struct{ config cio.Config }

func (a attached) Config() cio.Config { return a.config }
func (attached) Cancel()              {}
func (attached) Wait()                {}
func (attached) Close() error         { return nil }

// closedNetNS makes a network namespace in which nothing was ever switched on:
// the loopback interface is down. The file keeps it alive; a runtime joins it
// through netNSPath. Nothing is mounted, so nothing can be left behind.
//
// Each box has its own, because abstract Unix sockets are per network namespace.
func closedNetNS() (*os.File, error) {
	type result struct {
		f   *os.File
		err error
	}
	c := make(chan result)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			c <- result{nil, fmt.Errorf("making a network namespace: %w", err)}
			return
		}
		f, err := os.Open("/proc/thread-self/ns/net")
		c <- result{f, err}
	}()
	r := <-c
	return r.f, r.err
}

func netNSPath(f *os.File) string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), f.Fd()) }

package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/weighbridge/weighbridge/harness/sandbox/internal/daemon"
)

// instance is a numbered directory below the state directory that one Host has
// for itself. A lock that the kernel drops with the process says that it is in
// use; a mark that only a proper Close removes says that it needs tidying.
type instance struct {
	dir  string
	lock *os.File
}

const maxInstances = 1000

// takeInstance locks a directory below state. Directories that a dead owner
// left come first, so that their remains are tidied by whoever starts next.
func takeInstance(state string) (*instance, error) {
	if err := os.MkdirAll(state, 0o700); err != nil {
		return nil, fmt.Errorf("creating the state directory: %w", err)
	}
	if in, err := leftInstance(state); in != nil || err != nil {
		return in, err
	}
	for n := range maxInstances {
		in, err := lockInstance(filepath.Join(state, strconv.Itoa(n)))
		if in != nil || err != nil {
			return in, err
		}
	}
	return nil, fmt.Errorf("all %d places below %s are in use", maxInstances, state)
}

// leftInstance locks one directory whose owner died, or returns nil.
func leftInstance(state string) (*instance, error) {
	marks, err := filepath.Glob(filepath.Join(state, "*", "in-use"))
	if err != nil {
		return nil, err
	}
	for _, m := range marks {
		if in, err := lockInstance(filepath.Dir(m)); in != nil || err != nil {
			return in, err
		}
	}
	return nil, nil
}

// lockInstance returns nil without an error when another Host has the place.
func lockInstance(dir string) (*instance, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("creating %s: %w", dir, err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, nil
		}
		return nil, fmt.Errorf("locking %s: %w", dir, err)
	}
	in := &instance{dir: dir, lock: f}
	if err := os.WriteFile(in.path("in-use"), nil, 0o600); err != nil {
		f.Close()
		return nil, fmt.Errorf("marking %s: %w", dir, err)
	}
	for _, sub := range []string{"io", "rt"} {
		if err := os.MkdirAll(in.path(sub), 0o700); err != nil {
			f.Close()
			return nil, err
		}
	}
	return in, nil
}

func (in *instance) path(name string) string { return filepath.Join(in.dir, name) }

// tidy empties the place of pipes and of what runtimes keep for their boxes;
// gVisor leaves a network namespace mounted there for the next box. No box may
// be running.
func (in *instance) tidy() error {
	if err := daemon.UnmountBelow(in.path("rt")); err != nil {
		return err
	}
	for _, sub := range []string{"io", "rt"} {
		entries, err := os.ReadDir(in.path(sub))
		if err != nil {
			return err
		}
		for _, e := range entries {
			if err := os.RemoveAll(filepath.Join(in.path(sub), e.Name())); err != nil {
				return fmt.Errorf("tidying %s: %w", in.path(sub), err)
			}
		}
	}
	return nil
}

// release gives the place back; tidied says that nothing of ours is left in it.
func (in *instance) release(tidied bool) error {
	var err error
	if tidied {
		err = os.Remove(in.path("in-use"))
	}
	return errors.Join(err, in.lock.Close())
}

// LeftBehind reports whether a host below the state directory of cfg died
// without closing, so that boxes of its may still run: the next Open removes
// them.
func LeftBehind(cfg Config) (bool, error) {
	cfg, err := cfg.complete()
	if err != nil {
		return false, err
	}
	in, err := leftInstance(cfg.StateDir)
	if in == nil || err != nil {
		return false, err
	}
	return true, in.release(false)
}

package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"
)

// Labels on every container. A label survives its owner, so that the next Open
// can tell whether the owner still lives.
const (
	labelOwner    = "weighbridge/owner"    // see owner.String
	labelDeadline = "weighbridge/deadline" // RFC 3339, UTC
	labelName     = "weighbridge/name"
)

// owner names one process beyond doubt: a pid is used again, but not with the
// same start time, and both are only meaningful in one boot and pid namespace.
type owner struct {
	Boot  string // kernel's boot id
	PIDNS string // for example "pid:[4026531836]"
	PID   int
	Start uint64 // clock ticks after boot
}

func (o owner) String() string { return fmt.Sprintf("%s %s %d %d", o.Boot, o.PIDNS, o.PID, o.Start) }

func parseOwner(s string) (owner, error) {
	var o owner
	n, err := fmt.Sscanf(s, "%s %s %d %d", &o.Boot, &o.PIDNS, &o.PID, &o.Start)
	if err != nil || n != 4 {
		return owner{}, fmt.Errorf("owner label %.100q is not of the form %q", s, "boot pidns pid start")
	}
	return o, nil
}

func self() (owner, error) {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return owner{}, fmt.Errorf("reading the boot id: %w", err)
	}
	ns, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return owner{}, fmt.Errorf("reading the pid namespace: %w", err)
	}
	start, err := startTime(os.Getpid())
	if err != nil {
		return owner{}, err
	}
	return owner{Boot: strings.TrimSpace(string(boot)), PIDNS: ns, PID: os.Getpid(), Start: start}, nil
}

// startTime is field 22 of /proc/PID/stat, proc(5). The second field, the name,
// may hold anything, so fields count from its closing parenthesis.
func startTime(pid int) (uint64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if len(f) < 20 {
		return 0, fmt.Errorf("/proc/%d/stat has %d fields after the name, want 20", pid, len(f))
	}
	return strconv.ParseUint(f[19], 10, 64)
}

// orphaned reports whether a box with these labels has outlived its owner. An
// owner in another pid namespace cannot be seen; there the deadline decides.
func orphaned(labels map[string]string, me owner, now time.Time, startOf func(pid int) (uint64, error)) bool {
	deadline, err := time.Parse(time.RFC3339, labels[labelDeadline])
	if err != nil || now.After(deadline.Add(time.Minute)) {
		return true
	}
	o, err := parseOwner(labels[labelOwner])
	if err != nil || o.Boot != me.Boot {
		return true
	}
	if o.PIDNS != me.PIDNS {
		return false
	}
	start, err := startOf(o.PID)
	if errors.Is(err, fs.ErrNotExist) {
		return true
	}
	return err == nil && start != o.Start
}

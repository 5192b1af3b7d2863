package sandbox

import (
	"time"
)

// Runtimes that Config.Runtime may name.
const (
	Runc  = "runc"  // namespaces, cgroups and seccomp of the host's kernel
	Runsc = "runsc" // gVisor: a kernel of its own in user space, same walls around it
)

// Config says where boxes run.
type Config struct {
	// Address is the socket of a containerd to use. Empty tries the system's
	// (/run/containerd/containerd.sock) and falls back to a private daemon;
	// "private" goes straight to the private daemon.
	Address string
	// StateDir holds sockets, FIFOs and the private daemon's files. Empty means
	// /run/weighbridge. At most 60 bytes long: Unix socket paths end at 106.
	StateDir string
	// Runtime is Runc (the default when empty) or Runsc.
	Runtime string
	// RuntimePath is the runtime's binary. Empty searches PATH.
	RuntimePath string
	// Heartbeat is the pause between two signs of life that the host sends to
	// each box. Zero means 2 s.
	Heartbeat time.Duration
	// HangAfter is how long a box may leave a heartbeat unanswered before it is
	// killed and its end is called Hung. Zero means 30 s.
	HangAfter time.Duration
	// StartTimeout bounds Start up to the proved box. Zero means 30 s.
	StartTimeout time.Duration
}

// File is a host file that the box sees, read-only and not executable.
type File struct {
	Host string // absolute path of a regular file on the host; symlinks are resolved
	Box  string // absolute path in the box, for example /weights/model.gguf
}

// Limits bound what a box may use. A zero field means its default.
type Limits struct {
	Memory int64   // bytes, tmpfs included, page cache of files reclaimable; default 1 GiB
	Tmp    int64   // bytes of the writable /tmp; default 64 MiB
	CPUs   float64 // CPU time per wall time; default 1
	Pids   int64   // threads and processes inside; default 128
	NoFile uint64  // open files; default 256
}

// Spec says what one box is.
type Spec struct {
	// Name appears in errors and labels: 1 to 32 of a-z, 0-9 and '-'.
	Name string
	// Guest is the host path of a static executable that serves through
	// package guest. It is the whole root file system of the box.
	Guest string
	// Args follow the guest's own name in its argument list.
	Args  []string
	Files []File
	Limits
	// Life is how long the box may exist; then it is killed and its end is
	// called Deadline. Zero means one hour.
	Life time.Duration
}

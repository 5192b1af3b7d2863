package proof

import (
	"slices"
	"strconv"
	"strings"
)

// Names of the observations that the host makes from outside.
const (
	HostMemory = "host/memory limit"
	HostPids   = "host/pids limit"
	HostCPU    = "host/cpu quota"
)

// Walls is what a plan promises about one box.
type Walls struct {
	Runtime string // "runc" or "runsc"
	Memory  int64  // bytes
	Pids    int64  // as the host's kernel counts them
	Quota   int64  // microseconds of CPU per 100 ms
	Tmp     int64  // bytes
	NoFile  uint64
	Weights bool // files lie in /weights
}

// Forks is how many children the self-test has to try for, to meet the limit.
// gVisor counts the processes of the box on the host only, and meeting that
// limit ends the box; there a few children show that they are unhindered.
func (w Walls) Forks() int {
	if w.Runtime == "runsc" {
		return 2
	}
	return int(w.Pids)
}

// A want lists the acceptable observations, joined by "|". Where gVisor's own
// kernel answers otherwise, it has a column of its own.
type want struct{ name, runc, runsc string }

const same = "" // runsc wants what runc wants

// wants is the whole of what a box must show. A name missing from the
// observations fails, and so does an observation that is not listed here.
var wants = []want{
	// No network: seccomp refuses every family but Unix before the kernel looks
	// at it. gVisor does not know all families, and says so after its filter.
	{"socket/alg", "EPERM", same},
	{"socket/bluetooth", "EPERM", same},
	{"socket/can", "EPERM", same},
	{"socket/inet raw", "EPERM", same},
	{"socket/inet tcp", "EPERM", same},
	{"socket/inet udp", "EPERM", same},
	{"socket/inet6", "EPERM", same},
	{"socket/key", "EPERM", same},
	{"socket/netlink", "EPERM", same},
	{"socket/packet", "EPERM", same},
	{"socket/vsock", "EPERM", same},
	{"socket/xdp", "EPERM", same},
	{"socket/unix listen", "EPERM", same},
	{"connect/loopback", "EPERM", same},
	{"connect/outside", "EPERM", same},
	{"connect/dns", "EPERM", same},
	// The host listens on the first of these two in its own network namespace.
	{"connect/abstract socket of the host", "ECONNREFUSED", same},
	{"connect/containerd", "ENOENT", same},
	// gVisor's loopback is its own, inside its own network stack.
	{"net/interfaces", "lo down|none", "lo up"},

	// Calls that change the world around a process.
	{"call/add_key", "EPERM", same},
	{"call/bpf", "EPERM", same},
	{"call/chroot", "EPERM", same},
	{"call/clone newuser", "EPERM", same},
	{"call/clone3", "ENOSYS", same}, // C libraries then use clone
	{"call/execve from tmp", "EACCES", same},
	{"call/fanotify_init", "EPERM", same},
	{"call/finit_module", "EPERM", same},
	{"call/fsopen", "EPERM", same},
	{"call/io_uring_setup", "EPERM", same},
	{"call/ioperm", "EPERM", same},
	{"call/kcmp", "EPERM", same},
	{"call/kexec_load", "EPERM", same},
	{"call/keyctl", "EPERM", same},
	{"call/memfd_create", "EPERM", same},
	{"call/mount", "EPERM", same},
	{"call/open_by_handle_at", "EPERM", same},
	{"call/open_tree", "EPERM", same},
	{"call/perf_event_open", "EPERM", same},
	{"call/personality", "EPERM", same},
	{"call/pidfd_getfd", "EPERM", same},
	{"call/pivot_root", "EPERM", same},
	{"call/process_vm_writev", "EPERM", same},
	{"call/quotactl", "EPERM", same},
	{"call/reboot", "EPERM", same},
	{"call/request_key", "EPERM", same},
	{"call/setgid 0", "EPERM", same},
	{"call/sethostname", "EPERM", same},
	{"call/setns", "EPERM", same},
	{"call/setuid 0", "EPERM", same},
	{"call/swapon", "EPERM", same},
	{"call/umount2", "EPERM", same},
	{"call/unshare mount", "EPERM", same},
	{"call/unshare net", "EPERM", same},
	{"call/unshare user", "EPERM", same},
	{"call/userfaultfd", "EPERM", same},
	// Only the native architecture is in the filter: other entries kill. gVisor
	// has no 32-bit calls to protect and answers with the filter's default.
	{"call/32-bit socket", "SIGSYS", "EPERM"},
	{"call/32-bit socketcall", "SIGSYS", "EPERM"},
	{"call/x32 socket", "SIGSYS", "EPERM"},

	{"child/start", "ok", same},
	{"child/ptrace attach", "EPERM", same},
	{"child/process_vm_readv", "EPERM", same},
	{"child/fork bomb", "EAGAIN", "not refused"}, // host/pids limit holds there

	// Files: nothing can be written but /tmp. gVisor mounts a /sys, a /dev with
	// more nodes and a /dev/shm of its own, and keeps an oom_score_adj that
	// reaches no host process.
	{"write//", "EROFS|EACCES", same},
	{"write//dev", "EROFS|EACCES", same},
	{"write//dev/shm", "ENOENT", "EACCES"},
	{"write//etc", "ENOENT", same},
	{"write//proc", "ENOENT|EACCES", same},
	{"write//run", "ENOENT", same},
	{"write//sys", "ENOENT", "EACCES"},
	{"write//tmp", "ok", same}, // or the check of execve means nothing
	{"write//weights", "EROFS|EACCES|ENOENT", same},
	{"write//guest", "EROFS|EACCES", same},
	{"write//proc/self/oom_score_adj", "EACCES", "ok"},
	{"write//proc/sys/kernel/core_pattern", "EROFS|EACCES", "ENOENT"},
	{"write//proc/sys/kernel/hostname", "EROFS|EACCES", same},
	{"write//proc/sysrq-trigger", "EROFS|EACCES|ENOENT", same},
	{"write/weights files", "EROFS|EACCES", same},
	{"mknod/block", "EPERM", same},
	{"mknod/char", "EPERM", same},
	{"read//dev/kmsg", "ENOENT", same},
	{"read//dev/kvm", "ENOENT", same},
	{"read//dev/mem", "ENOENT", same},
	{"read//dev/sda", "ENOENT", same},
	{"read//dev/vda", "ENOENT", same},
	{"read//proc/kcore", "empty|EACCES|ENOENT", same},
	{"read//proc/keys", "empty|EACCES|ENOENT", same},
	{"read//proc/kmsg", "empty|EACCES|ENOENT", same},
	{"read//proc/timer_list", "empty|EACCES|ENOENT", same},
	{"read//sys/firmware", "ENOENT", "empty"},
	{"read//sys/kernel/debug", "ENOENT", same},
	{"read//var/run/secrets", "ENOENT", same},

	// Who the guest is and what it sees.
	{"status/CapAmb", zeroCaps, same},
	{"status/CapBnd", zeroCaps, same},
	{"status/CapEff", zeroCaps, same},
	{"status/CapInh", zeroCaps, same},
	{"status/CapPrm", zeroCaps, same},
	{"status/Gid", "65534 65534 65534 65534", same},
	{"status/Groups", "", same},
	{"status/NoNewPrivs", "1", same},
	{"status/Seccomp", "2", same},
	{"status/Uid", "65534 65534 65534 65534", same},
	{"prctl/no new privileges", "1", same},
	{"prctl/seccomp", "2", same},
	{"limit/core", "0", same},
	{"world/hostname", "box", same},
	{"world/processes", "only the guest", same},
	{"world/devices", "full null random tty urandom zero", "full fuse net/tun null pts/ptmx random tty urandom zero"},
	{"world/writable mounts", "/tmp", same},
	{"world/descriptors", "pipe", same},
	{"world/cgroup", "/", same},
}

const zeroCaps = "0000000000000000"

// Judge holds the observations against what the walls promise.
func Judge(w Walls, seen []Observation) Report {
	got := make(map[string]string, len(seen))
	for _, o := range seen {
		if first, twice := got[o.Name]; twice {
			o.Got = first + " and " + o.Got
		}
		got[o.Name] = o.Got
	}
	r := Report{Runtime: w.Runtime}
	for _, e := range expectations(w) {
		g, ok := got[e.name]
		delete(got, e.name)
		acceptable := e.runc
		if w.Runtime == "runsc" && e.runsc != same {
			acceptable = e.runsc
		}
		r.Checks = append(r.Checks, Check{
			Name: e.name, Want: acceptable, Got: printable(g),
			OK: ok && slices.Contains(strings.Split(acceptable, "|"), g),
		})
	}
	// An observation nobody asked for comes from a guest that is not ours.
	for name, g := range got {
		r.Checks = append(r.Checks, Check{Name: printable(name), Want: "no such check", Got: printable(g)})
	}
	slices.SortFunc(r.Checks, func(a, b Check) int { return strings.Compare(a.Name, b.Name) })
	return r
}

// expectations adds to wants what depends on the plan.
func expectations(w Walls) []want {
	n := func(v int64) string { return strconv.FormatInt(v, 10) }
	all := slices.Concat(wants, []want{
		{HostMemory, n(w.Memory), same},
		{HostPids, n(w.Pids), same},
		{HostCPU, n(w.Quota), same},
		{"limit/tmp", n(w.Tmp), same},
		{"limit/open files", strconv.FormatUint(w.NoFile, 10), same},
	})
	if !w.Weights {
		i := slices.IndexFunc(all, func(e want) bool { return e.name == "write/weights files" })
		all[i].runc = "none there"
	}
	return all
}

// printable makes text of a guest safe to show: printable ASCII, bounded.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s[:min(len(s), 200)])
}

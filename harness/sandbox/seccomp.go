package sandbox

import (
	goruntime "runtime"
	"slices"

	"github.com/containerd/containerd/v2/contrib/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// notInABox are calls that containerd's default profile allows and that no
// guest needs: ways to a network, to other processes, or to code and names that
// outlive a request.
var notInABox = []string{
	"accept", "accept4", "bind", "listen", "socket", "socketcall",
	"io_uring_enter", "io_uring_register", "io_uring_setup",
	"kcmp", "pidfd_getfd", "process_madvise", "process_mrelease",
	"process_vm_readv", "process_vm_writev", "ptrace",
	"listmount", "statmount", "name_to_handle_at",
	"memfd_create", "memfd_secret",
	"mknod", "mknodat", "modify_ldt", "personality",
	"mq_getsetattr", "mq_notify", "mq_open", "mq_timedreceive", "mq_timedreceive_time64",
	"mq_timedsend", "mq_timedsend_time64", "mq_unlink",
}

// strictSeccomp narrows containerd's default profile, which is maintained as
// kernels grow, for a process without capabilities.
//
// Only the native architecture is named. libseccomp turns every socket rule
// into one for the 32-bit socketcall too, whose arguments no filter can see
// (containerd#13327); without the architecture such a call kills the caller.
//
// clone3 hides its flags in memory, so it must look like a call that does not
// exist: only on ENOSYS do C libraries fall back to clone, and without that a
// guest with C threads dies at its first one.
func strictSeccomp(runtime string) *specs.LinuxSeccomp {
	p := seccomp.DefaultProfile(&specs.Spec{Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{}}})
	var rules []specs.LinuxSyscall
	noSuchCall := specs.LinuxSyscall{Names: []string{"clone3"}, Action: specs.ActErrno, ErrnoRet: new(uint(unix.ENOSYS))}
	if runtime == Runsc {
		// gVisor returns EPERM for ActErrno whatever ErrnoRet says. A call to be
		// traced gives ENOSYS where no tracer can be, as on Linux (seccomp(2)).
		noSuchCall = specs.LinuxSyscall{Names: []string{"clone3"}, Action: specs.ActTrace}
	}
	for _, r := range p.Syscalls {
		if slices.Contains(r.Names, "clone3") {
			continue // noSuchCall is the one rule for it
		}
		if r.Action == specs.ActAllow {
			r.Names = slices.DeleteFunc(slices.Clone(r.Names), func(n string) bool { return slices.Contains(notInABox, n) })
		}
		if len(r.Names) > 0 {
			rules = append(rules, r)
		}
	}
	rules = append(rules, noSuchCall, specs.LinuxSyscall{
		Names:  []string{"socket"},
		Action: specs.ActAllow,
		Args:   []specs.LinuxSeccompArg{{Index: 0, Value: unix.AF_UNIX, Op: specs.OpEqualTo}},
	})
	return &specs.LinuxSeccomp{
		DefaultAction: specs.ActErrno,
		Architectures: []specs.Arch{nativeArch[goruntime.GOARCH]},
		Syscalls:      rules,
	}
}

var nativeArch = map[string]specs.Arch{"amd64": specs.ArchX86_64, "arm64": specs.ArchAARCH64}

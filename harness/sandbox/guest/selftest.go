package guest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/weighbridge/weighbridge/harness/sandbox/proof"
)

// Probe holds what the host tells a guest about its self-test.
type Probe struct {
	Canary string // an abstract Unix socket of the host, without the leading NUL
	Forks  int    // how many children to try for
}

// SelfTest tries the escapes and reads the walls. It reports what it saw and
// judges nothing: the expectations are package proof's, on the host. It must
// run before any hostile input is touched, because nothing keeps a program that
// has been taken over from lying. Outside of a box, where the program is not the
// first process, it does nothing and returns nil: some escapes would succeed.
func SelfTest(ctx context.Context, p Probe) []proof.Observation {
	if os.Getpid() != 1 {
		return nil
	}
	var o observations
	o.sockets(ctx, p.Canary)
	o.calls()
	o.children(p.Forks)
	o.files()
	o.properties()
	return o
}

type observations []proof.Observation

func (o *observations) put(name, got string) {
	*o = append(*o, proof.Observation{Name: name, Got: got})
}

func (o *observations) err(name string, err error) { o.put(name, errnoName(err)) }

// errnoName is "ok" for nil, the errno's symbol, or the error's own words where
// there is no errno in it.
func errnoName(err error) string {
	var e syscall.Errno
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &e):
		if n := unix.ErrnoName(e); n != "" {
			return n
		}
		return fmt.Sprintf("errno %d", int(e))
	case errors.Is(err, fs.ErrNotExist):
		return "ENOENT"
	default:
		return err.Error()
	}
}

// call makes a system call whose arguments are invalid, so that only a refusal
// before the arguments are looked at gives EPERM or ENOSYS.
func call(nr uintptr, args ...uintptr) error {
	var a [6]uintptr
	copy(a[:], args)
	if _, _, e := syscall.RawSyscall6(nr, a[0], a[1], a[2], a[3], a[4], a[5]); e != 0 {
		return e
	}
	return nil
}

// calls tries what a program would use to change its surroundings or to reach
// other processes. Calls that would do harm if they worked run in a child.
func (o *observations) calls() {
	const bad = ^uintptr(0)
	inPlace := []struct {
		name string
		nr   uintptr
		args []uintptr
	}{
		{"call/add_key", unix.SYS_ADD_KEY, nil},
		{"call/bpf", unix.SYS_BPF, nil},
		{"call/clone3", unix.SYS_CLONE3, nil},
		{"call/fanotify_init", unix.SYS_FANOTIFY_INIT, nil},
		{"call/finit_module", unix.SYS_FINIT_MODULE, []uintptr{bad}},
		{"call/fsopen", unix.SYS_FSOPEN, nil},
		{"call/io_uring_setup", unix.SYS_IO_URING_SETUP, []uintptr{1}},
		{"call/ioperm", unix.SYS_IOPERM, []uintptr{bad, 1, 1}},
		{"call/kcmp", unix.SYS_KCMP, []uintptr{1, 1, bad}},
		{"call/kexec_load", unix.SYS_KEXEC_LOAD, []uintptr{0, bad}},
		{"call/keyctl", unix.SYS_KEYCTL, []uintptr{bad}},
		{"call/memfd_create", unix.SYS_MEMFD_CREATE, []uintptr{0, bad}},
		{"call/mount", unix.SYS_MOUNT, nil},
		{"call/open_by_handle_at", unix.SYS_OPEN_BY_HANDLE_AT, []uintptr{bad}},
		{"call/open_tree", unix.SYS_OPEN_TREE, []uintptr{bad, 0, bad}},
		{"call/perf_event_open", unix.SYS_PERF_EVENT_OPEN, nil},
		{"call/pidfd_getfd", unix.SYS_PIDFD_GETFD, []uintptr{bad, bad}},
		{"call/pivot_root", unix.SYS_PIVOT_ROOT, nil},
		{"call/process_vm_writev", unix.SYS_PROCESS_VM_WRITEV, []uintptr{1}},
		{"call/quotactl", unix.SYS_QUOTACTL, []uintptr{bad}},
		{"call/reboot", unix.SYS_REBOOT, nil},
		{"call/request_key", unix.SYS_REQUEST_KEY, nil},
		{"call/setns", unix.SYS_SETNS, []uintptr{bad}},
		{"call/swapon", unix.SYS_SWAPON, nil},
		{"call/umount2", unix.SYS_UMOUNT2, nil},
		{"call/userfaultfd", unix.SYS_USERFAULTFD, []uintptr{bad}},
	}
	for _, c := range inPlace {
		o.err(c.name, call(c.nr, c.args...))
	}
	dir := [...]byte{'/', 0}
	root := pointer(&dir[0])
	inTmp, removeTmp, err := scriptInTmp()
	defer removeTmp()
	o.err("write//tmp", err)
	others := []struct {
		name string
		call sysCall
	}{
		{"call/chroot", sysCall{nr: unix.SYS_CHROOT, a1: root}},
		{"call/clone newuser", sysCall{nr: unix.SYS_CLONE, a1: unix.CLONE_NEWUSER | uintptr(unix.SIGCHLD)}},
		{"call/personality", sysCall{nr: unix.SYS_PERSONALITY, a1: 0x0040000}}, // ADDR_NO_RANDOMIZE
		{"call/setgid 0", sysCall{nr: unix.SYS_SETGID}},
		{"call/sethostname", sysCall{nr: unix.SYS_SETHOSTNAME, a2: 1}},
		{"call/setuid 0", sysCall{nr: unix.SYS_SETUID}},
		{"call/unshare mount", sysCall{nr: unix.SYS_UNSHARE, a1: unix.CLONE_NEWNS}},
		{"call/unshare net", sysCall{nr: unix.SYS_UNSHARE, a1: unix.CLONE_NEWNET}},
		{"call/unshare user", sysCall{nr: unix.SYS_UNSHARE, a1: unix.CLONE_NEWUSER}},
		{"call/execve from tmp", sysCall{nr: unix.SYS_EXECVE, a1: inTmp}},
	}
	calls := make([]sysCall, len(others))
	for i, c := range others {
		calls[i] = c.call
	}
	err = inChild(calls)
	for i, c := range others {
		if err != nil {
			o.err(c.name, err)
			continue
		}
		o.put(c.name, calls[i].answer())
	}
	inet := sysCall{a1: unix.AF_INET, a2: unix.SOCK_DGRAM}
	inet.nr = x32Bit | unix.SYS_SOCKET
	o.put("call/x32 socket", inMortal(false, inet))
	inet.nr = compatSocket
	o.put("call/32-bit socket", inMortal(true, inet))
	o.put("call/32-bit socketcall", socketcall())
}

// scriptInTmp writes an executable file and returns its name for execve.
func scriptInTmp() (name uintptr, remove func(), err error) {
	const path = "/tmp/.selftest"
	b := []byte(path + "\x00")
	return pointer(&b[0]), func() { os.Remove(path) }, os.WriteFile(path, []byte("#!/guest\n"), 0o700)
}

// socketcall asks for an INET socket through the 32-bit multiplexer, whose
// arguments lie in memory where a filter cannot see them.
func socketcall() string {
	page, err := low32(4096)
	if err != nil {
		return "mmap: " + errnoName(err)
	}
	defer unix.MunmapPtr(page, 4096)
	*(*[3]uint32)(page) = [3]uint32{unix.AF_INET, unix.SOCK_DGRAM, 0}
	return inMortal(true, sysCall{nr: compatSocketcall, a1: socketcallSocket, a2: uintptr(page)})
}

// children tries to look into a child, then to have more children than allowed.
func (o *observations) children(forks int) {
	pid, err := sleeper()
	if err != nil {
		o.err("child/start", err)
		return
	}
	o.put("child/start", "ok")
	o.err("child/ptrace attach", call(unix.SYS_PTRACE, unix.PTRACE_ATTACH, uintptr(pid)))
	var word [8]byte
	local := []unix.Iovec{{Base: &word[0], Len: 8}}
	_, err = unix.ProcessVMReadv(pid, local, []unix.RemoteIovec{{Base: pointer(&word[0]), Len: 8}}, 0)
	o.err("child/process_vm_readv", err)
	kill(pid)

	var pids []int
	got := "not refused"
	for range forks {
		pid, err := sleeper()
		if err != nil {
			got = errnoName(err)
			break
		}
		pids = append(pids, pid)
	}
	for _, pid := range pids {
		unix.Kill(pid, unix.SIGKILL)
	}
	for _, pid := range pids {
		reap(pid)
	}
	o.put("child/fork bomb", got)
}

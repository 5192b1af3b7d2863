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
// has been taken over from lying.
func SelfTest(ctx context.Context, p Probe) []proof.Observation {
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
	inFork := []struct {
		name           string
		nr, a1, a2, a3 uintptr
	}{
		{"call/chroot", unix.SYS_CHROOT, root, 0, 0},
		{"call/clone newuser", unix.SYS_CLONE, unix.CLONE_NEWUSER | uintptr(unix.SIGCHLD), 0, 0},
		{"call/personality", unix.SYS_PERSONALITY, 0x0040000, 0, 0}, // ADDR_NO_RANDOMIZE
		{"call/setgid 0", unix.SYS_SETGID, 0, 0, 0},
		{"call/sethostname", unix.SYS_SETHOSTNAME, root, 1, 0},
		{"call/setuid 0", unix.SYS_SETUID, 0, 0, 0},
		{"call/unshare mount", unix.SYS_UNSHARE, unix.CLONE_NEWNS, 0, 0},
		{"call/unshare net", unix.SYS_UNSHARE, unix.CLONE_NEWNET, 0, 0},
		{"call/unshare user", unix.SYS_UNSHARE, unix.CLONE_NEWUSER, 0, 0},
	}
	for _, c := range inFork {
		o.put(c.name, inChild(false, c.nr, c.a1, c.a2, c.a3))
	}
	o.put("call/x32 socket", inChild(false, x32Bit|unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_DGRAM, 0))
	o.put("call/32-bit socket", inChild(true, compatSocket, unix.AF_INET, unix.SOCK_DGRAM, 0))
	o.put("call/32-bit socketcall", socketcall())
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
	return inChild(true, compatSocketcall, socketcallSocket, uintptr(page), 0)
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
	o.put("child/exec from tmp", execFromTmp())
}

func execFromTmp() string {
	const path = "/tmp/.selftest"
	if err := os.WriteFile(path, []byte("#!/guest\n"), 0o700); err != nil {
		return "write: " + errnoName(err)
	}
	defer os.Remove(path)
	name := []byte(path + "\x00")
	argv := [2]uintptr{pointer(&name[0]), 0}
	return inChild(false, unix.SYS_EXECVE, pointer(&name[0]), pointer(&argv[0]), 0)
}

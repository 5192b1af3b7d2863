package guest

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Call numbers of 32-bit x86 and of x32, from arch/x86/entry/syscalls in Linux.
const (
	compatSocketcall = 102
	compatSocket     = 359
	x32Bit           = 0x40000000
	socketcallSocket = 1 // SYS_SOCKET in linux/net.h
)

// inChild makes system calls in a child, so that one which does succeed cannot
// change the guest itself, and puts the answers into calls. The child shares the
// guest's memory, which saves copying its page tables: that costs milliseconds
// under gVisor.
func inChild(calls []sysCall) error {
	pid, err := clone(unix.CLONE_VM, 0, calls)
	if err != nil {
		return err
	}
	if end := reap(pid); end != "ok" {
		return errors.New(end)
	}
	return nil
}

// inMortal makes one system call, natively or through int 0x80, that may kill
// the child which makes it, and returns what came of it. Where a fatal signal
// ends all who share the memory, it is copied.
func inMortal(int80 bool, c sysCall) string {
	flags, mode := uintptr(unix.CLONE_VM), uintptr(0)
	var u unix.Utsname
	if unix.Uname(&u) != nil || killsSharers(unix.ByteSliceToString(u.Release[:])) {
		flags = 0
	}
	if int80 {
		mode = 1
	}
	calls := []sysCall{c}
	pid, err := clone(flags, mode, calls)
	if err != nil {
		return "clone: " + errnoName(err)
	}
	if end := reap(pid); end != "ok" {
		return end
	}
	if flags == 0 {
		return "survived" // its answer is in its own memory
	}
	return calls[0].answer()
}

func (c sysCall) answer() string {
	if r := int(c.ret); r < 0 && r > -4096 {
		return errnoName(syscall.Errno(-r))
	}
	return "ok"
}

// killsSharers reports whether a kernel release ends, with a process that dumps
// core, every other that shares its memory. Linux did before 5.16 (commit
// 0258b5fd7c71); gVisor, which calls itself 4.19, does not dump core.
func killsSharers(release string) bool {
	if strings.HasSuffix(release, "-gvisor") {
		return false
	}
	var major, minor int
	if n, _ := fmt.Sscanf(release, "%d.%d", &major, &minor); n != 2 {
		return true
	}
	return major < 5 || major == 5 && minor < 16
}

// sleeper starts a child that sleeps until it is killed.
func sleeper() (pid int, err error) {
	return clone(unix.CLONE_VM, 0, []sysCall{{nr: unix.SYS_PAUSE}})
}

func clone(flags, int80 uintptr, calls []sysCall) (int, error) {
	pointer(&calls[0]) // the child outlives this frame
	// As os/exec does: no other goroutine may be between opening a descriptor
	// and marking it close-on-exec, and the thread must stay the same.
	syscall.ForkLock.Lock()
	defer syscall.ForkLock.Unlock()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	r := int(cloneCalls(flags|uintptr(unix.SIGCHLD), int80, &calls[0], uintptr(len(calls))))
	if r < 0 {
		return 0, syscall.Errno(-r)
	}
	return r, nil
}

// kill ends a sleeper and collects it.
func kill(pid int) {
	unix.Kill(pid, unix.SIGKILL)
	reap(pid)
}

func reap(pid int) string {
	var ws unix.WaitStatus
	for {
		_, err := unix.Wait4(pid, &ws, 0, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return "wait4: " + errnoName(err)
		}
		break
	}
	switch {
	case ws.Signaled():
		return unix.SignalName(ws.Signal())
	case ws.ExitStatus() == 0:
		return "ok"
	default:
		return errnoName(syscall.Errno(ws.ExitStatus()))
	}
}

// low32 returns memory below 4 GiB, which 32-bit calls can point to.
func low32(size uintptr) (unsafe.Pointer, error) {
	return unix.MmapPtr(-1, 0, nil, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_32BIT)
}

// pointer is p as a system call argument. What it points to lives from now on
// where nothing moves it and nothing frees it: a child may look at it at any time.
//
//go:noinline
func pointer[T any](p *T) uintptr {
	kept.Lock()
	defer kept.Unlock()
	kept.all = append(kept.all, p)
	return uintptr(unsafe.Pointer(p))
}

// kept grows by some dozen words in each self-test, of which a guest makes one.
var kept struct {
	sync.Mutex
	all []any
}

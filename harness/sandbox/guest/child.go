package guest

import (
	"runtime"
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

// inChild makes one system call in a forked child, so that a call which does
// succeed, or kills, cannot disturb the guest itself. It returns "ok", the name
// of the errno, or the name of the signal that ended the child.
func inChild(compat bool, nr, a1, a2, a3 uintptr) string {
	var viaInt80 uintptr
	if compat {
		viaInt80 = 1
	}
	pid, err := clone(uintptr(unix.SIGCHLD), viaInt80, nr, a1, a2, a3)
	if err != nil {
		return "clone: " + errnoName(err)
	}
	return reap(pid)
}

// sleeper starts a child that sleeps until it is killed. It shares the guest's
// memory, which makes it cheap.
func sleeper() (pid int, err error) {
	return clone(uintptr(unix.CLONE_VM|unix.SIGCHLD), 0, unix.SYS_PAUSE, 0, 0, 0)
}

func clone(flags, compat, nr, a1, a2, a3 uintptr) (int, error) {
	// As os/exec does: no other goroutine may be between opening a descriptor
	// and marking it close-on-exec, and the thread must stay the same.
	syscall.ForkLock.Lock()
	defer syscall.ForkLock.Unlock()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	r := int(cloneCall(flags, compat, nr, a1, a2, a3))
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

// pointer is p as a system call argument. What it points to must stay alive,
// and must not move, until the call is over: heap and globals, or a variable
// that escapes through here.
//
//go:noinline
func pointer[T any](p *T) uintptr {
	keep = p
	return uintptr(unsafe.Pointer(p))
}

// keep makes what pointer saw escape to the heap, where nothing moves.
var keep any

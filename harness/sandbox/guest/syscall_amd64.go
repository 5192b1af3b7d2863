package guest

// A sysCall is one system call for a child to make, and what came of it.
type sysCall struct {
	nr, a1, a2 uintptr // a third argument would be zero
	ret        uintptr // the kernel's answer: below zero an errno
}

// cloneCalls makes a child with clone(flags) that makes n system calls, writes
// down their answers, and exits with 0. With int80 set they go through int 0x80,
// so that numbers and arguments are those of 32-bit x86. The child never touches
// its stack, so that CLONE_VM is safe; calls must not move.
//
//go:noescape
func cloneCalls(flags, int80 uintptr, calls *sysCall, n uintptr) (pid uintptr)

package guest

// cloneCall makes a child with clone(flags) that makes one system call and then
// exits with the low byte of the negated result, which is the errno of a failed
// call and 0 for most successes. Through int 0x80 when compat is 1, so that the
// number and arguments are those of 32-bit x86. The child never touches its
// stack, so that CLONE_VM is safe.
//
//go:noescape
func cloneCall(flags, compat, nr, a1, a2, a3 uintptr) (pid uintptr)

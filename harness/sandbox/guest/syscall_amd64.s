#include "textflag.h"

// func cloneCalls(flags, int80 uintptr, calls *sysCall, n uintptr) (pid uintptr)
//
// Everything that the child needs sits in registers before the clone: with
// CLONE_VM the parent returns and reuses this frame while the child runs.
TEXT ·cloneCalls(SB), NOSPLIT, $0-40
	MOVQ int80+8(FP), R15
	MOVQ calls+16(FP), R12
	MOVQ n+24(FP), R13
	MOVQ flags+0(FP), DI
	XORL SI, SI
	XORL DX, DX
	XORL R10, R10
	XORL R8, R8
	XORL R9, R9
	MOVL $56, AX // clone
	SYSCALL
	TESTQ AX, AX
	JZ next
	MOVQ AX, pid+32(FP)
	RET

next:
	TESTQ R13, R13
	JZ leave
	DECQ R13
	MOVQ 0(R12), AX
	TESTQ R15, R15
	JNZ compat
	MOVQ 8(R12), DI
	MOVQ 16(R12), SI
	XORL DX, DX
	SYSCALL
	MOVQ AX, 24(R12)
	ADDQ $32, R12
	JMP next

compat:
	MOVQ 8(R12), BX
	MOVQ 16(R12), CX
	XORL DX, DX
	INT $0x80
	MOVLQSX AX, AX
	MOVQ AX, 24(R12)
	ADDQ $32, R12
	JMP next

leave:
	XORL DI, DI
	MOVL $231, AX // exit_group
	SYSCALL
	INT $3

#include "textflag.h"

// func cloneCall(flags, compat, nr, a1, a2, a3 uintptr) (pid uintptr)
//
// Everything that the child needs sits in registers before the clone: with
// CLONE_VM the parent returns and reuses this frame while the child runs.
TEXT ·cloneCall(SB), NOSPLIT, $0-56
	MOVQ compat+8(FP), R15
	MOVQ nr+16(FP), R12
	MOVQ a1+24(FP), R13
	MOVQ a2+32(FP), R14
	MOVQ a3+40(FP), BX
	MOVQ flags+0(FP), DI
	XORL SI, SI
	XORL DX, DX
	XORL R10, R10
	XORL R8, R8
	XORL R9, R9
	MOVL $56, AX // clone
	SYSCALL
	TESTQ AX, AX
	JZ child
	MOVQ AX, pid+48(FP)
	RET

child:
	CMPQ R15, $1
	JEQ compat
	MOVQ R12, AX
	MOVQ R13, DI
	MOVQ R14, SI
	MOVQ BX, DX
	SYSCALL
	JMP leave

compat:
	// 32-bit order: number AX, arguments BX, CX, DX.
	MOVQ BX, DX
	MOVQ R12, AX
	MOVQ R13, BX
	MOVQ R14, CX
	INT $0x80

leave:
	NEGL AX
	JNS clamp
	XORL AX, AX
clamp:
	MOVL AX, DI
	MOVL $231, AX // exit_group
	SYSCALL
	INT $3

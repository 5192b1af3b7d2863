#include "textflag.h"

// func spin() runs for ever where Go's scheduler cannot stop it, like a C
// engine in an endless loop does to a stop-the-world.
TEXT ·spin(SB), NOSPLIT, $0-0
again:
	JMP again

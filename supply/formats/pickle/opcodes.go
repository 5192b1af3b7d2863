package pickle

// arg says what follows an opcode.
type arg int8

const (
	none  arg = iota
	fix1      // that many bytes
	fix2      //
	fix4      //
	fix8      //
	line      // up to the next line feed
	lines     // two lines
	len1      // a length of 1 byte, and as many bytes
	len4      //
	len8      //
	frame     // a length of 8 bytes, which is a hint only
)

type opcode struct {
	name string // empty: not an opcode
	arg  arg
}

var opcodes = [256]opcode{
	'(': {"MARK", none}, '.': {"STOP", none}, '0': {"POP", none}, '1': {"POP_MARK", none}, '2': {"DUP", none},
	'F': {"FLOAT", line}, 'I': {"INT", line}, 'J': {"BININT", fix4}, 'K': {"BININT1", fix1}, 'L': {"LONG", line},
	'M': {"BININT2", fix2}, 'N': {"NONE", none}, 'P': {"PERSID", line}, 'Q': {"BINPERSID", none}, 'R': {"REDUCE", none},
	'S': {"STRING", line}, 'T': {"BINSTRING", len4}, 'U': {"SHORT_BINSTRING", len1}, 'V': {"UNICODE", line},
	'X': {"BINUNICODE", len4}, 'a': {"APPEND", none}, 'b': {"BUILD", none}, 'c': {"GLOBAL", lines}, 'd': {"DICT", none},
	'}': {"EMPTY_DICT", none}, 'e': {"APPENDS", none}, 'g': {"GET", line}, 'h': {"BINGET", fix1}, 'i': {"INST", lines},
	'j': {"LONG_BINGET", fix4}, 'l': {"LIST", none}, ']': {"EMPTY_LIST", none}, 'o': {"OBJ", none}, 'p': {"PUT", line},
	'q': {"BINPUT", fix1}, 'r': {"LONG_BINPUT", fix4}, 's': {"SETITEM", none}, 't': {"TUPLE", none},
	')': {"EMPTY_TUPLE", none}, 'u': {"SETITEMS", none}, 'G': {"BINFLOAT", fix8}, 'B': {"BINBYTES", len4},
	'C':  {"SHORT_BINBYTES", len1},
	0x80: {"PROTO", fix1}, 0x81: {"NEWOBJ", none}, 0x82: {"EXT1", fix1}, 0x83: {"EXT2", fix2}, 0x84: {"EXT4", fix4},
	0x85: {"TUPLE1", none}, 0x86: {"TUPLE2", none}, 0x87: {"TUPLE3", none}, 0x88: {"NEWTRUE", none},
	0x89: {"NEWFALSE", none}, 0x8a: {"LONG1", len1}, 0x8b: {"LONG4", len4}, 0x8c: {"SHORT_BINUNICODE", len1},
	0x8d: {"BINUNICODE8", len8}, 0x8e: {"BINBYTES8", len8}, 0x8f: {"EMPTY_SET", none}, 0x90: {"ADDITEMS", none},
	0x91: {"FROZENSET", none}, 0x92: {"NEWOBJ_EX", none}, 0x93: {"STACK_GLOBAL", none}, 0x94: {"MEMOIZE", none},
	0x95: {"FRAME", frame}, 0x96: {"BYTEARRAY8", len8}, 0x97: {"NEXT_BUFFER", none}, 0x98: {"READONLY_BUFFER", none},
}

// Package pickle lists what a Python pickle would import and call, without
// running any of it.
//
// In: the bytes of a pickle of any protocol (0 to 5), which an adversary may
// have written. Out: a [Listing] of the opcodes by which a pickle acts on the
// interpreter, each with its offset and, where the bytes say it, the name that
// is imported or called. Strings are followed through stack and memo as
// CPython's unpickler does, for STACK_GLOBAL takes its names from there.
//
// Memory is bounded whatever the lengths and indices in the file claim; what lies
// beyond the bounds is not followed and shows as "?". A truncated or malformed
// pickle gives what was found before the fault, for an unpickler would have run
// it by then.
//
// The package will not say that a pickle is harmless: a list of names cannot.
//
// Opcodes are those of CPython's Lib/pickletools.py.
package pickle

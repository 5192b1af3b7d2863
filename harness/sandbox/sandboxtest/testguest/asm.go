package main

import "golang.org/x/sys/unix"

func spin()

// segv dies of a real SIGSEGV: Go turns a fault in its own code into a panic,
// so the default action has to come back first.
func segv() { unix.Kill(unix.Getpid(), unix.SIGSEGV) }

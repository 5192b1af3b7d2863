// Command weighbridge is the gate that open model weights pass before anyone
// runs them. `weighbridge help` lists its verbs; each has a file here, and none
// of them knows more of the domain than how to call it.
package main

import "os"

func main() { os.Exit(run(system(), os.Args[1:])) }

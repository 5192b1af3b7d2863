// Package sandbox runs a program in sealed boxes: one containerd container
// each, without a network, capabilities or writable files, reached only over
// HTTP/2 on its standard input and output.
//
// In goes a [Spec] (a static guest binary, read-only files, limits, a life
// time); out comes a running, proved [Box] with an [http.Client], a bounded
// log and a typed [End]. A box answers its first question only after its
// self-test (package guest) has met the expectations of package proof.
//
// [Plan] turns a Spec into an OCI runtime specification and is pure; [Host]
// carries plans out through containerd. [Open] uses a containerd that already
// answers, or else starts a private one below the state directory and stops it
// on [Host.Close]. Boxes whose owner has died are removed by the next Open.
//
// The package will not pull images, give a box a network, keep a box beyond
// its life time, or judge what a guest answers. It needs Linux, root, and the
// programs containerd and runc (or runsc); [ErrUnavailable] says which one is
// missing and how to get it. Figures and reasons: docs/threat-model.md.
package sandbox

// Package proof verifies what a ledger says, offline: checkpoints (C2SP
// tlog-checkpoint, signed notes), witness cosignatures (tlog-cosignature),
// trust policies (tlog-policy), receipts (tlog-proof) and consistency between
// two checkpoints.
//
// In: bytes and a Policy. Out: a Checkpoint whose signatures satisfied the
// policy, or an error that names what did not hold. The package stands on
// golang.org/x/mod alone, so that the program that a deploy step calls stays
// small.
//
// It will not read a clock, a file or the network, and does not know what an
// entry means.
package proof

// Package ledger appends to the transparency log of everything the gate did.
//
// It is a Tessera log in a folder (C2SP tlog-tiles) with one writer. In:
// entries (package entry). Out: receipts, which anyone verifies offline
// (package proof), and a folder that any web server can serve for audit.
//
//	entry     what an entry says: types, rules, canonical bytes
//	proof     offline: checkpoints, cosignatures, policies, receipts
//	tiles     reads a ledger's folder
//	approval  SSH signatures of people over entries
//	audit     recomputes everything and names the first bad entry
//	witness   a small C2SP tlog-witness
//
// # Durable and proven
//
// Append returns when the entry is proven: a published checkpoint, cosigned as
// the witness policy asks, covers it. Nothing that is let through the gate may
// act on less. AppendDurable returns when the entry is on disk. It is for
// rollbacks alone, which must not wait for a witness that is down; such
// entries are listed by Pending until a checkpoint covers them.
//
// # What the folder holds
//
//	checkpoint, tile/     public, C2SP tlog-tiles
//	.state/               Tessera's own: size and root of what is on disk
//	.weighbridge/         verifier key and lock of the writer
//
// The private key is never in the folder. An entry that was acknowledged is
// there after a crash at any time; one that was not may be there too.
//
// The package will not judge a model, serve HTTP, or delete anything.
package ledger

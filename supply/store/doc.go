// Package store keeps admitted models by content, and what is still being
// judged apart from them.
//
//	store.json                        what this folder is
//	lock                              shared by admissions, exclusive to GC
//	blobs/sha256/ab/ab…               every file of every admitted model, once, mode 0444
//	models/ROOT/IDENTITY/000001.json  one record per admission that said something new
//	quarantine/ID/                    one running or interrupted intake
//	refused/ID/                       a refused intake with its reason
//	folders/…                         models laid out as read-only folders
//	aside/                            what fsck --repair took out of use
//
// In: bytes from a source (package intake), through [Store.Begin] and
// [Intake.Add]. Out: an [Entry] for each admitted model, found by its OMS root
// in either order or by its identity, and its files as a folder.
//
// A model is admitted the moment that its record gets its name, and everything
// it needs is on disk before that. A process killed at any point leaves the
// model admitted or not, and an intake that the next [Store.Begin] of the same
// origin goes on with. Roots do not bind names, so models that share one lie
// side by side under it, by identity. Records are never rewritten: evidence that
// was once admitted with a model stays readable after a later intake with less.
//
// The package will not judge what it is given, fetch anything, or remove a
// model. It trusts the owner of the folder and root, nobody else.
package store

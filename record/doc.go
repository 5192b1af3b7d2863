// Package record holds the types that a run leaves behind: what was compared,
// what was asked, what was found and what was decided. Probes fill them in,
// harness/decide judges them, reports writes and reads them.
//
// It is data only. It knows no model, no box, no file format, and holds no
// time of day: the same plan gives the same record, byte for byte.
package record

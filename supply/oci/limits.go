package oci

import "time"

// Limits bound what a registry or an artifact can make weighbridge do. A zero
// field means the one of [DefaultLimits].
type Limits struct {
	Manifest  int64 // bytes of one manifest, index or page of referrers
	Layers    int   // layers of one manifest, entries of one index
	Bytes     int64 // bytes of all layers together, and of all unpacked files
	Files     int   // files in the model folder
	Ratio     int64 // unpacked bytes per packed byte, after the first MiB
	Referrers int   // documents that refer to one model
	Pages     int   // pages of their list
	Evidence  int64 // bytes of one such document
	Redirects int   // of one request
	Tries     int   // of one request or blob that make no progress
	Idle      time.Duration
	Backoff   time.Duration // before the second try, doubled for each further one
}

// DefaultLimits are generous for models and small for accidents.
var DefaultLimits = Limits{
	Manifest:  4 << 20,
	Layers:    4096,
	Bytes:     4 << 40,
	Files:     100_000,
	Ratio:     200,
	Referrers: 256,
	Pages:     16,
	Evidence:  16 << 20,
	Redirects: 5,
	Tries:     3,
	Idle:      60 * time.Second,
	Backoff:   500 * time.Millisecond,
}

func (l Limits) orDefault() Limits {
	d := DefaultLimits
	set(&l.Manifest, d.Manifest)
	set(&l.Layers, d.Layers)
	set(&l.Bytes, d.Bytes)
	set(&l.Files, d.Files)
	set(&l.Ratio, d.Ratio)
	set(&l.Referrers, d.Referrers)
	set(&l.Pages, d.Pages)
	set(&l.Evidence, d.Evidence)
	set(&l.Redirects, d.Redirects)
	set(&l.Tries, d.Tries)
	set(&l.Idle, d.Idle)
	set(&l.Backoff, d.Backoff)
	return l
}

func set[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Package reports writes what a run found to one Parquet file, reads it back,
// and renders it for people and machines.
//
// The Parquet file is the only source: every other format is a pure function
// of it. [Create] takes a [record.Run] and a stream of items and leaves either
// a complete file or none; [Open] gives both back. [Render] turns an open
// report into one of [Formats].
//
// The same input gives the same bytes. Nothing here knows the time, the
// machine or the working folder. docs/report-schema.md describes every column.
//
// The package will not judge: outcomes, tiers, p-values and reasons are copied
// from the record, never computed or changed. It will not fetch anything, and
// the pages that it makes fetch nothing either.
//
// Answers, prompts, names and metadata come from weights and are hostile text.
// They are stored as they are (invalid UTF-8 becomes U+FFFD, because Parquet
// readers refuse it) and made harmless where they are shown, by
// [github.com/weighbridge/weighbridge/reports/safetext].
package reports

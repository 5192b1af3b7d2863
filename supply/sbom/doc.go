// Package sbom writes and checks bills of materials for models: CycloneDX ML-BOMs
// (https://cyclonedx.org/docs/1.6/json/), tied to a model's files by digest.
//
// [Make] writes version 1.6 from a folder and its manifest; the same folder and
// flags give the same bytes. [Validate] holds a BOM against the official JSON
// schema of its version, 1.5 to 1.7. [Check] holds it against the files too.
// In: bytes and a [manifest.Manifest]. Out: [Facts] that a policy can weigh and
// [record.Problem]s with the rules of [Rules].
//
// Bytes decide over file digests, the root and the identity. All else in a BOM,
// licences and ancestors among it, is its author's text: it is read, counted
// and handed on as claimed, and never believed.
//
// A BOM is hostile input: its size, depth, numbers and keys are bounded before
// the schema sees it, and at most a fixed number of problems is reported per
// rule. Text of a BOM is handed on cut and quoted.
//
// The package reads neither CycloneDX XML nor SPDX; the error says how to
// convert them. It verifies no signature (package bundle) and resolves no
// lineage beyond the BOM (package provenance).
package sbom

// Package oci carries models and their evidence to and from OCI registries,
// OCI image layouts and tars of layouts.
//
// Out (see [Push]): a model folder as a CNCF ModelPack whose layers are the raw
// files, so that a layer's digest is the file's SHA-256 and with it the digest
// of the OMS resource; model.sig and every claim as Sigstore bundles that refer
// to the model, in the shape that cosign pushes and reads. The same folder
// always gives the same bytes.
//
// In (see [Pull] and [Source]): ModelPack, KitOps ModelKit, Docker model and
// Ollama artifacts, told apart by the media types of table.go. What refers to
// the model comes too.
//
// The far side is hostile: every document and blob has a bound before it is
// read, is hashed while it is read, and is used only when digest and size are
// those asked for; archives are unpacked by rules that leave nothing outside the
// folder. A tag is resolved once, the rest goes by digest. Each way to fail has
// an error of errors.go.
//
// The package will not judge signatures: what it writes beside the weights is
// there for package supply to check. It never writes credentials anywhere, and
// follows no URL that a manifest names.
package oci

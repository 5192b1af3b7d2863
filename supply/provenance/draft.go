package provenance

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"strings"
	"time"
	"unicode"

	"github.com/weighbridge/weighbridge/internal/durable"
	"github.com/weighbridge/weighbridge/supply/bundle"
	"github.com/weighbridge/weighbridge/supply/manifest"
)

// Draft is an unsigned statement that is being written. It keeps what it does
// not understand of a statement that others began.
type Draft struct {
	tree, def, run map[string]any
}

// NewDraft begins the provenance of the model m, whose folder is called name.
// builder is the URI of who runs the build. Errors wrap ErrUsage.
func NewDraft(name string, m *manifest.Manifest, kind Kind, builder string) (*Draft, error) {
	if _, ok := KindOf(kind.BuildType()); !ok {
		return nil, fmt.Errorf("%w: there is no build type %q; there are %q", ErrUsage, kind, Kinds)
	}
	if u, err := url.Parse(builder); err != nil || !u.IsAbs() {
		return nil, fmt.Errorf("%w: the builder %q is no URI, such as https://ci.example.org/train", ErrUsage, builder)
	}
	digest := map[string]any{"sha256": m.Root()}
	if id, ok := m.Identity(); ok {
		digest[IdentityKey] = strings.TrimPrefix(string(id), "sha256:")
	}
	return draftOf(map[string]any{
		"_type":         bundle.StatementType,
		"subject":       []any{map[string]any{"name": name, "digest": digest}},
		"predicateType": bundle.PredicateProvenance,
		"predicate": map[string]any{
			"buildDefinition": map[string]any{"buildType": kind.BuildType(), "externalParameters": map[string]any{}},
			"runDetails":      map[string]any{"builder": map[string]any{"id": builder}},
		},
	})
}

// ReadDraft reads the draft in a model's folder.
func ReadDraft(dir string) (*Draft, error) {
	raw, err := readBounded(dir, manifest.ProvenanceFile, maxDocument)
	if err != nil {
		return nil, err
	}
	v, err := decode(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, manifest.ProvenanceFile), err)
	}
	o, ok := v.(map[string]any)
	if !ok || o["predicateType"] != bundle.PredicateProvenance {
		return nil, badFormat("%s is no statement with predicateType %q", filepath.Join(dir, manifest.ProvenanceFile), bundle.PredicateProvenance)
	}
	return draftOf(o)
}

func draftOf(tree map[string]any) (*Draft, error) {
	var r reader
	p := r.object(tree, "", "predicate")
	d := &Draft{tree: tree, def: r.object(p, "/predicate", "buildDefinition"), run: r.object(p, "/predicate", "runDetails")}
	if r.err == nil && (d.def == nil || d.run == nil) {
		r.fail("/predicate", "buildDefinition or runDetails is missing")
	}
	return d, r.err
}

// sub gives the object at o[key], made where it is absent.
func sub(o map[string]any, key string) (map[string]any, error) {
	switch v := o[key].(type) {
	case nil:
		n := map[string]any{}
		o[key] = n
		return n, nil
	case map[string]any:
		return v, nil
	default:
		return nil, badFormat("%s is %s, wanted an object", key, kindOf(v))
	}
}

// Add puts a dependency in, in the place of one of the same role and name.
func (d *Draft) Add(x Descriptor) (replaced bool, err error) {
	old, ok := d.def["resolvedDependencies"].([]any)
	if d.def["resolvedDependencies"] != nil && !ok {
		return false, badFormat("resolvedDependencies is %s, wanted an array", kindOf(d.def["resolvedDependencies"]))
	}
	n := x.tree()
	for i, v := range old {
		o, _ := v.(map[string]any)
		a, _ := o["annotations"].(map[string]any)
		if o["name"] == n["name"] && a[AnnotationRole] == string(x.Role) {
			old[i] = n
			return true, nil
		}
	}
	if len(old) >= maxDependencies {
		return false, fmt.Errorf("%w: there are %d dependencies already", ErrUsage, len(old))
	}
	d.def["resolvedDependencies"] = append(old, n)
	return false, nil
}

func (x *Descriptor) tree() map[string]any {
	a := map[string]any{AnnotationRole: string(x.Role)}
	for key, n := range map[string]*int64{AnnotationFiles: x.Files, AnnotationBytes: x.Bytes, AnnotationDirty: x.Dirty} {
		if n != nil {
			a[key] = json.Number(fmt.Sprint(*n))
		}
	}
	if len(x.Changed) > 0 {
		a[AnnotationChanged] = x.Changed
	}
	digest := map[string]any{}
	for alg, hex := range x.Digest {
		digest[alg] = hex
	}
	o := map[string]any{"name": x.Name, "digest": digest, "annotations": a}
	if x.URI != "" {
		o["uri"] = x.URI
	}
	return o
}

// Set sets an external parameter from KEY=VALUE. A VALUE that is a JSON number
// or bool is kept as one, anything else is text. Errors wrap ErrUsage.
func (d *Draft) Set(assignment string) error {
	key, value, ok := strings.Cut(assignment, "=")
	if !ok || key == "" || len(key) > 256 || len(value) > maxText || strings.ContainsFunc(key, unicode.IsControl) {
		return fmt.Errorf("%w: %.100q is not KEY=VALUE", ErrUsage, assignment)
	}
	if key == recipeKey {
		return fmt.Errorf("%w: the parameter %q is what --recipe sets", ErrUsage, key)
	}
	p, err := sub(d.def, "externalParameters")
	if err != nil {
		return err
	}
	p[key] = value
	if v, err := decode([]byte(value)); err == nil {
		switch v.(type) {
		case json.Number, bool:
			p[key] = v
		}
	}
	return nil
}

// Times records when the build ran and how its runner calls it; empty ones are
// left as they are. Errors wrap ErrUsage.
func (d *Draft) Times(started, finished, invocation string) error {
	m, err := sub(d.run, "metadata")
	if err != nil {
		return err
	}
	for key, s := range map[string]string{"startedOn": started, "finishedOn": finished} {
		if s == "" {
			continue
		}
		t, err := time.Parse(time.RFC3339, s)
		if err != nil {
			return fmt.Errorf("%w: %q is no RFC 3339 time, such as 2026-01-31T10:00:00Z", ErrUsage, s)
		}
		m[key] = t.UTC().Format(time.RFC3339)
	}
	if invocation != "" {
		m["invocationId"] = invocation
	}
	if len(m) == 0 {
		delete(d.run, "metadata")
	}
	return nil
}

// Bytes is the draft as JSON with sorted keys: equal drafts give equal bytes.
func (d *Draft) Bytes() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(d.tree); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// Write puts the draft into the model's folder. It refuses to write what could
// not be read again.
func (d *Draft) Write(dir string) error {
	src, err := d.Bytes()
	if err != nil {
		return err
	}
	st, err := ParseStatement(src)
	if err != nil {
		return err
	}
	if _, err := Parse(st.PredicateType, st.Predicate); err != nil {
		return err
	}
	return durable.Write(filepath.Join(dir, manifest.ProvenanceFile), 0o644, func(w io.Writer) error {
		_, err := w.Write(src)
		return err
	})
}

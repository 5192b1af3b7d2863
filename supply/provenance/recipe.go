package provenance

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
)

const (
	recipeKey      = "recipe"
	maxRecipe      = 1 << 20
	maxRecipeTypes = 4096
)

// SetRecipe records a recipe file: its digest as a dependency and, where it is
// a JSON or YAML mapping, its text under the external parameter "recipe".
func (d *Draft) SetRecipe(ctx context.Context, path string) error {
	x, err := Describe(ctx, RecipeRole, path)
	if err != nil {
		return err
	}
	if _, err := d.Add(x); err != nil {
		return err
	}
	var raw []byte
	switch strings.ToLower(filepath.Ext(path)) {
	case ".json", ".yaml", ".yml":
		if *x.Bytes > maxRecipe {
			return fmt.Errorf("%w: recipe %s has %d bytes, more than %d", ErrUsage, path, *x.Bytes, maxRecipe)
		}
		if raw, err = os.ReadFile(path); err != nil {
			return err
		}
	default:
		return nil
	}
	if sum := sha256.Sum256(raw); x.Digest["sha256"] != hex.EncodeToString(sum[:]) {
		return fmt.Errorf("%w: %s changed while it was read", ErrUsage, path)
	}
	if !strings.EqualFold(filepath.Ext(path), ".json") {
		if raw, err = yaml.YAMLToJSON(raw); err != nil {
			return fmt.Errorf("%w: recipe %s: %w", ErrUsage, path, err)
		}
	}
	v, err := decode(raw)
	if err != nil {
		return fmt.Errorf("%w: recipe %s: %w", ErrUsage, path, err)
	}
	p, err := sub(d.def, "externalParameters")
	if err != nil {
		return err
	}
	if o, ok := v.(map[string]any); ok {
		p[recipeKey] = o
	}
	return nil
}

// Recipe is what a document says of a build that can be made again.
type Recipe struct {
	Kind Kind
	// Type is the tensor type that matrices were brought to, as quant.ParseType
	// reads it.
	Type string
	// Types holds the types of single tensors.
	Types map[string]string
	// Scale is the factor on the adapter's own scale; 0 where not said, which
	// means 1.
	Scale float32
	// Importance is set where an importance matrix weighed the rounding.
	Importance string
}

// ErrRecipe is a recipe that contradicts itself or cannot be understood.
var ErrRecipe = errors.New("unusable recipe")

// Recipe takes the recipe out of the external parameters "type", "types",
// "scale" and "imatrix", which may stand under "recipe" or beside it. Errors
// wrap ErrRecipe.
func (d *Document) Recipe() (Recipe, error) {
	kind, ok := KindOf(d.BuildType)
	if !ok {
		return Recipe{}, fmt.Errorf("%w: build type %.200q", ErrRecipe, d.BuildType)
	}
	r := Recipe{Kind: kind}
	inner, _ := d.External[recipeKey].(map[string]any)
	field := func(key string) (any, error) {
		a, b := inner[key], d.External[key]
		if a != nil && b != nil && fmt.Sprint(a) != fmt.Sprint(b) {
			return nil, fmt.Errorf("%w: %q is %v in the recipe and %v beside it", ErrRecipe, key, a, b)
		}
		if a == nil {
			a = b
		}
		return a, nil
	}
	for _, f := range []struct {
		key string
		set func(any) bool
	}{
		{"type", func(v any) (ok bool) { r.Type, ok = v.(string); return ok }},
		{"types", func(v any) bool { return r.setTypes(v) }},
		{"scale", func(v any) bool {
			n, _ := v.(json.Number)
			f, err := strconv.ParseFloat(n.String(), 32)
			r.Scale = float32(f)
			return err == nil && r.Scale != 0
		}},
		{"imatrix", func(v any) bool {
			if v != false {
				r.Importance = fmt.Sprintf("%.200v", v)
			}
			return true
		}},
	} {
		v, err := field(f.key)
		if err != nil {
			return r, err
		}
		if v != nil && !f.set(v) {
			return r, fmt.Errorf("%w: %q cannot be %.100v", ErrRecipe, f.key, v)
		}
	}
	return r, nil
}

func (r *Recipe) setTypes(v any) bool {
	o, ok := v.(map[string]any)
	r.Types = map[string]string{}
	for name, t := range o {
		s, isText := t.(string)
		ok = ok && isText
		r.Types[name] = s
	}
	return ok && len(o) <= maxRecipeTypes
}

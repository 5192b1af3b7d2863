package calibrate

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/weighbridge/weighbridge/weights"
	"github.com/weighbridge/weighbridge/weights/gguf"
	"github.com/weighbridge/weighbridge/weights/variants"
)

// found is a GGUF file and the name that it goes by.
type found struct{ path, name string }

// find lists the GGUF files that the arguments name or hold, in order of their
// names.
func find(args []string) (list []found, err error) {
	for _, arg := range args {
		st, err := os.Stat(arg)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrBenign, err)
		}
		if !st.IsDir() {
			list = append(list, found{arg, nameOf(filepath.Base(arg))})
			continue
		}
		n := len(list)
		err = filepath.WalkDir(arg, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.EqualFold(filepath.Ext(path), ".gguf") {
				return err
			}
			rel, err := filepath.Rel(arg, path)
			list = append(list, found{path, nameOf(filepath.ToSlash(rel))})
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrBenign, err)
		}
		if len(list) == n {
			return nil, fmt.Errorf("%w: %s holds no .gguf file", ErrBenign, arg)
		}
	}
	slices.SortStableFunc(list, func(a, b found) int { return strings.Compare(a.name, b.name) })
	return list, nil
}

func nameOf(path string) string { return strings.TrimSuffix(path, filepath.Ext(path)) }

// open opens the user's variants on the baseline and makes sure that they
// belong to it. The baseline itself and weights that are there twice are left
// out.
func open(ctx context.Context, base *weights.Model, args []string) (list []variants.Given, err error) {
	files, err := find(args)
	if err != nil {
		return nil, err
	}
	seen := map[weights.Identity]bool{base.Identity(): true}
	defer func() {
		if err != nil {
			for _, g := range list {
				err = errors.Join(err, g.Model.Close())
			}
			list = nil
		}
	}()
	for _, f := range files {
		a := weights.Artifact{Model: f.path}
		adapter, err := isAdapter(f.path)
		if err != nil {
			return list, fmt.Errorf("%w: %w", ErrBenign, err)
		}
		if adapter {
			a = weights.Artifact{Model: base.Artifact().Model, Adapter: f.path}
		}
		m, err := weights.Open(ctx, a)
		if err != nil {
			return list, fmt.Errorf("%w: %w", ErrBenign, err)
		}
		if seen[m.Identity()] {
			if err := m.Close(); err != nil {
				return list, err
			}
			continue
		}
		seen[m.Identity()] = true
		list = append(list, variants.Given{Name: f.name, Model: m})
		if adapter {
			continue
		}
		cmp, err := weights.Compare(ctx, base, m)
		if err != nil {
			return list, err
		}
		if cmp.Relation.Kind == weights.Unrelated {
			return list, fmt.Errorf("%w: %s does not belong to the baseline: %s", ErrBenign, f.path, cmp.Relation.Reason)
		}
	}
	return list, nil
}

// isAdapter reads what kind of GGUF file it is.
func isAdapter(path string) (bool, error) {
	st, err := os.Stat(path)
	if err != nil {
		return false, err
	}
	if !st.Mode().IsRegular() { // opening a pipe would wait
		return false, fmt.Errorf("%s is no regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	g, err := gguf.Read(path, f, st.Size(), gguf.Limits{})
	if err != nil {
		return false, err
	}
	kind, _ := g.Meta.String("general.type")
	return kind == "adapter", nil
}

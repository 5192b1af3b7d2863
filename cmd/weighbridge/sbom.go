package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/weighbridge/weighbridge/internal/durable"
	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/supply/manifest"
	"github.com/weighbridge/weighbridge/supply/sbom"
)

func sbomCommand(a *app) *cobra.Command {
	var in sbom.Input
	var out string
	var bases, datasets []string
	c := &cobra.Command{
		Use:   "sbom DIR",
		Short: "Write a model's bill of materials (CycloneDX 1.6), or check one",
		Long: `Write a CycloneDX 1.6 ML-BOM of a model folder: every file with its digest, the
model with its OMS root, and what the weights' headers, README.md, the
configuration and the flags say of licence, base models, data and loaders. Such
text is marked as claimed. What nobody names stays out, and is listed on standard
error. Equal folders and flags give equal bytes; SOURCE_DATE_EPOCH adds a time.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) (err error) {
			in.Dir, in.Tool = args[0], version
			if in.BaseModels, err = refs("--base-model", bases); err != nil {
				return err
			}
			if in.Datasets, err = refs("--dataset", datasets); err != nil {
				return err
			}
			if in.Time, err = sourceDate(a.Getenv("SOURCE_DATE_EPOCH")); err != nil {
				return err
			}
			if in.Manifest, err = manifest.Dir(c.Context(), in.Dir, manifest.Options{}); err != nil {
				return err
			}
			src, err := sbom.Make(c.Context(), in)
			if err != nil {
				return err
			}
			if out == "-" {
				_, err := a.Stdout.Write(src)
				return err
			}
			if out == "" {
				out = filepath.Join(in.Dir, manifest.BOMFile)
			}
			if err := durable.Write(out, 0o644, func(w io.Writer) error {
				_, err := io.Copy(w, bytes.NewReader(src))
				return err
			}); err != nil {
				return err
			}
			return reportBOM(a, out, src, in.Manifest)
		},
	}
	f := c.Flags()
	f.StringVarP(&out, "output", "o", "", "file to write, - for standard output (default DIR/"+manifest.BOMFile+")")
	f.StringVar(&in.Name, "name", "", "the model's name (default: what the weights say, else the folder's name)")
	f.StringVar(&in.Version, "version", "", "the model's version")
	f.StringArrayVar(&in.Licences, "licence", nil, "the model's licence: an SPDX identifier or expression, or a name (repeatable)")
	f.StringArrayVar(&bases, "base-model", nil, "what the model was made from, as NAME or NAME=sha256:HEX (repeatable)")
	f.StringArrayVar(&datasets, "dataset", nil, "what it was trained on, as NAME or NAME=sha256:HEX (repeatable)")
	f.StringArrayVar(&in.Authors, "author", nil, "who made it (repeatable)")
	c.AddCommand(&cobra.Command{
		Use:   "validate FILE",
		Short: "Hold a CycloneDX 1.5, 1.6 or 1.7 BOM against the official JSON schema",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := sbom.ValidateFile(args[0]); err != nil {
				return err
			}
			fmt.Fprintf(a.Stdout, "%s: valid\n", visible(args[0]))
			return nil
		},
	})
	return c
}

// reportBOM checks what was written against the files, and says what it leaves
// open.
func reportBOM(a *app, path string, src []byte, m *manifest.Manifest) error {
	facts, problems, err := sbom.Check(src, m)
	if err != nil {
		return err
	}
	fmt.Fprintf(a.Stdout, "%s: sha256:%x\n", visible(path), sha256.Sum256(src))
	fmt.Fprintf(a.Stdout, "model root %s, %d files\n", m.Root(), len(m.Resources))
	for _, p := range problems {
		if sbom.Rules()[p.Rule] == record.Bad { // such as names with control characters
			fmt.Fprintf(a.Stderr, "wrong: %s\n", visible(p.Subject+": "+p.Detail))
		}
	}
	for _, g := range facts.Gaps {
		fmt.Fprintf(a.Stderr, "open: %s\n", visible(g))
	}
	return nil
}

func refs(flag string, texts []string) ([]sbom.Ref, error) {
	var out []sbom.Ref
	for _, s := range texts {
		r, err := sbom.ParseRef(s)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", flag, err)
		}
		out = append(out, r)
	}
	return out, nil
}

// sourceDate reads SOURCE_DATE_EPOCH (https://reproducible-builds.org/specs/source-date-epoch/).
func sourceDate(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || n > 253402300799 {
		return time.Time{}, usagef("SOURCE_DATE_EPOCH is %q; expected seconds since 1970, up to the year 9999", s)
	}
	return time.Unix(n, 0), nil
}

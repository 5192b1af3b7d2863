package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/supply/bundle"
	"github.com/weighbridge/weighbridge/supply/manifest"
	"github.com/weighbridge/weighbridge/supply/sbom"
	"github.com/weighbridge/weighbridge/supply/signing"
)

type signFlags struct {
	config       bundle.SignerConfig
	passwordFile string
	options      signing.Options
	dataset      bool
	asJSON       bool
}

func signCommand(a *app) *cobra.Command {
	var f signFlags
	c := &cobra.Command{
		Use:   "sign DIR --key KEY",
		Short: "Sign a folder of weights or a dataset (OpenSSF Model Signing v1.0)",
		Long: `sign hashes every file of the folder and writes the signature beside them, as
model.sig. Where there are a bom.json and a provenance.json it signs them too,
as claims about these very files, and appends the claims to claims.jsonl.

The files may not change meanwhile: sign writes nothing if they do.

A key is made with
  openssl ecparam -name prime256v1 -genkey -noout -out key.pem
  openssl pkey -in key.pem -pubout -out key.pub
and kept encrypted with
  openssl pkcs8 -topk8 -in key.pem -out key.enc.pem`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if f.config.Key == "" {
				return usagef("--key is missing; make a key with `openssl ecparam -name prime256v1 -genkey -noout -out key.pem`")
			}
			return signFolder(c.Context(), a, args[0], f)
		},
	}
	fs := c.Flags()
	fs.StringVar(&f.config.Key, "key", "", "PEM file of the private key (ECDSA P-256, P-384 or P-521)")
	fs.StringVar(&f.config.Certificate, "certificate", "", "PEM file of the key's certificate: the signature then carries it")
	fs.StringArrayVar(&f.config.Chain, "chain", nil, "PEM file of certificates between that one and the root (repeatable)")
	fs.StringVar(&f.passwordFile, "password-file", "", "file with the password of an encrypted key")
	fs.StringArrayVar(&f.options.Ignore, "ignore", nil, "path in the folder to leave out with all below it; everyone sees that it was (repeatable)")
	fs.StringVar(&f.options.SignatureFile, "signature", "", "write the signature there (default DIR/model.sig)")
	fs.BoolVar(&f.dataset, "dataset", false, "the folder holds training data: sign the files and no drafts")
	fs.BoolVar(&f.asJSON, "json", false, "print what was signed as JSON")
	return c
}

// signResult is the JSON of sign.
type signResult struct {
	Signature  string   `json:"signature"`
	Name       string   `json:"name"`
	Root       string   `json:"root"`
	PythonRoot string   `json:"python_root"`
	Identity   string   `json:"identity"`
	Files      int      `json:"files"`
	Bytes      int64    `json:"bytes"`
	Key        string   `json:"key"`
	Claims     []string `json:"claims"`
}

func signFolder(ctx context.Context, a *app, dir string, f signFlags) error {
	signer, err := loadSigner(f)
	if err != nil {
		return err
	}
	if f.config.Certificate != "" {
		certs, err := bundle.LoadCertificates(f.config.Certificate)
		if err != nil {
			return err
		}
		if now, c := time.Now(), certs[0]; now.Before(c.NotBefore) || now.After(c.NotAfter) {
			return usagef("%s is valid from %s to %s: nobody would accept the signature", f.config.Certificate, c.NotBefore.Format(time.RFC3339), c.NotAfter.Format(time.RFC3339))
		}
	}
	s, err := signing.Sign(ctx, dir, signer, f.options)
	if err != nil {
		return err
	}
	claims := []string{}
	if !f.dataset {
		drafts, err := signing.Drafts(dir, s.Name, s.Manifest)
		if err != nil {
			return err
		}
		for _, d := range drafts {
			if d.File != manifest.BOMFile {
				continue
			}
			_, problems, err := sbom.Check(d.Statement.Predicate, s.Manifest)
			if err != nil {
				return err
			}
			if sbom.State(problems) == record.Bad {
				return usagef("%s contradicts the files, and a signature would make that a lie: %s: %s; make it again with `weighbridge sbom %s`",
					filepath.Join(dir, d.File), problems[0].Subject, problems[0].Detail, dir)
			}
		}
		made, err := s.SignDrafts(drafts)
		if err != nil {
			return err
		}
		claims = append(claims, made...)
	}
	if err := s.Write(ctx); err != nil {
		return err
	}
	key, err := bundle.KeyID(signer.Public())
	if err != nil {
		return err
	}
	id, _ := s.Manifest.Identity()
	r := signResult{
		Signature: s.Path(), Name: s.Name, Root: s.Manifest.Root(), PythonRoot: s.Manifest.PythonRoot(), Identity: string(id),
		Files: len(s.Manifest.Resources), Bytes: s.Manifest.Bytes(), Key: key, Claims: claims,
	}
	if f.asJSON {
		return printJSON(a, r)
	}
	w := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
	line := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%s\t%s\n", name, visible(fmt.Sprintf(format, args...)))
	}
	line("signed", "%s, %d files, %d bytes", r.Signature, r.Files, r.Bytes)
	line("root", "sha256:%s", r.Root)
	if r.PythonRoot != r.Root {
		line("", "sha256:%s in the order of the Python implementation", r.PythonRoot)
	}
	line("identity", "%s", r.Identity)
	line("key", "%s, %s", signer.Kind(), r.Key)
	for _, c := range r.Claims {
		line("claim", "%s, in %s", c, filepath.Join(dir, "claims.jsonl"))
	}
	for _, p := range f.options.Ignore {
		line("ignored", "%s", p)
	}
	return w.Flush()
}

func loadSigner(f signFlags) (*bundle.Signer, error) {
	if f.passwordFile != "" {
		b, err := os.ReadFile(f.passwordFile)
		if err != nil {
			return nil, err
		}
		f.config.Password = strings.TrimRight(string(b), "\r\n")
	}
	return bundle.LoadSigner(f.config)
}

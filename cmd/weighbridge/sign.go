package main

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/weighbridge/weighbridge/supply/bundle"
	"github.com/weighbridge/weighbridge/supply/signing"
	"github.com/weighbridge/weighbridge/supply/signing/keyless"
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
		e := json.NewEncoder(a.Stdout)
		e.SetIndent("", "  ")
		return e.Encode(r)
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

// conformanceFlags are those of the adapter that the OMS conformance suite
// calls; it reads nothing but the exit code.
type conformanceFlags struct {
	method, model, bundle               string
	privateKey, publicKey, signingCert  string
	certChain, ignore                   []string
	ignoreUnsigned                      bool
	identity, identityProvider, trusted string
}

func (f *conformanceFlags) add(c *cobra.Command, out string) {
	fs := c.Flags()
	fs.StringVar(&f.method, "method", "", "key, certificate or sigstore")
	fs.StringVar(&f.model, "model-path", "", "folder, or for verifying also a file")
	fs.StringVar(&f.bundle, out, "", "signature file")
	fs.StringArrayVar(&f.certChain, "cert-chain", nil, "PEM certificates")
	fs.StringArrayVar(&f.ignore, "ignore-paths", nil, "paths to leave out")
}

// run makes the verb accept `--cert-chain a b`, as the suite's own argument
// parser does, besides the flag twice.
func (f *conformanceFlags) run(do func(context.Context) error) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, args []string) error {
		var one []string
		list := ""
		for _, arg := range args {
			switch {
			case arg == "--cert-chain" || arg == "--ignore-paths":
				list = arg
			case strings.HasPrefix(arg, "-"):
				list = ""
				one = append(one, arg)
			case list != "":
				one = append(one, list, arg)
			default:
				one = append(one, arg)
			}
		}
		if err := c.Flags().Parse(one); err != nil {
			return usagef("%w", err)
		}
		if c.Flags().NArg() > 0 {
			return usagef("unexpected argument %q", c.Flags().Arg(0))
		}
		return do(c.Context())
	}
}

// ignorePaths are the paths relative to the model, however they are written:
// absolute, relative to the working folder, or relative to the model.
func (f *conformanceFlags) ignorePaths() ([]string, error) {
	model, err := filepath.Abs(f.model)
	if err != nil {
		return nil, err
	}
	var paths []string
	for _, p := range f.ignore {
		abs, err := filepath.Abs(p)
		if err != nil {
			return nil, err
		}
		if rel, err := filepath.Rel(model, abs); err == nil && filepath.IsLocal(rel) {
			p = rel
		}
		paths = append(paths, filepath.ToSlash(p))
	}
	return paths, nil
}

func (f *conformanceFlags) required(more ...string) error {
	if f.method != "key" && f.method != "certificate" && f.method != "sigstore" {
		return usagef("--method %q; there are key, certificate and sigstore", f.method)
	}
	for _, v := range append(more, f.model, f.bundle) {
		if v == "" {
			return usagef("--model-path, the bundle, and the key or certificate of --method %s are needed", f.method)
		}
	}
	return nil
}

func signModelCommand(*app) *cobra.Command {
	var f conformanceFlags
	c := &cobra.Command{
		Use: "sign-model", Short: "Adapter of the OMS conformance suite", Hidden: true, Args: cobra.ArbitraryArgs, DisableFlagParsing: true,
		RunE: f.run(func(ctx context.Context) error {
			if err := f.required(f.privateKey); err != nil {
				return err
			}
			config := bundle.SignerConfig{Key: f.privateKey}
			switch f.method {
			case "sigstore":
				return usagef("signing without a key needs the network; weighbridge verifies such signatures and does not make them")
			case "certificate":
				config.Certificate, config.Chain = f.signingCert, f.certChain
				if f.signingCert == "" {
					return usagef("--signing-cert is missing")
				}
			}
			signer, err := bundle.LoadSigner(config)
			if err != nil {
				return err
			}
			ignore, err := f.ignorePaths()
			if err != nil {
				return err
			}
			s, err := signing.Sign(ctx, f.model, signer, signing.Options{Ignore: ignore, SignatureFile: f.bundle})
			if err != nil {
				return err
			}
			return s.Write(ctx)
		}),
	}
	f.add(c, "output-bundle")
	c.Flags().StringVar(&f.privateKey, "private-key", "", "PEM private key")
	c.Flags().StringVar(&f.signingCert, "signing-cert", "", "PEM certificate")
	return c
}

func verifyModelCommand(a *app) *cobra.Command {
	var f conformanceFlags
	c := &cobra.Command{
		Use: "verify-model", Short: "Adapter of the OMS conformance suite", Hidden: true, Args: cobra.ArbitraryArgs, DisableFlagParsing: true,
		RunE: f.run(func(ctx context.Context) error {
			if err := f.required(); err != nil {
				return err
			}
			why, err := f.verify(ctx, time.Now())
			if err != nil {
				return err
			}
			if len(why) > 0 {
				for _, line := range why {
					fmt.Fprintln(a.Stderr, visible(line))
				}
				return verdictCode(exitReject)
			}
			return nil
		}),
	}
	f.add(c, "bundle")
	fs := c.Flags()
	fs.StringVar(&f.publicKey, "public-key", "", "PEM public key")
	fs.BoolVar(&f.ignoreUnsigned, "ignore-unsigned-files", false, "look at signed files only")
	fs.StringVar(&f.identity, "identity", "", "subject of the certificate")
	fs.StringVar(&f.identityProvider, "identity-provider", "", "issuer of the identity")
	fs.StringVar(&f.trusted, "trust-config", "", "Sigstore trusted root or client trust configuration, JSON")
	return c
}

// verify gives the reasons against the signature, none where it holds.
func (f *conformanceFlags) verify(ctx context.Context, now time.Time) ([]string, error) {
	raw, err := os.ReadFile(f.bundle)
	if err != nil {
		return nil, err
	}
	s, err := signing.Open(raw)
	if err != nil {
		return []string{err.Error()}, nil
	}
	switch f.method {
	case "key":
		key, err := bundle.LoadPublicKey(f.publicKey)
		if err != nil {
			return nil, err
		}
		if err := s.Bundle.VerifyKey(key); err != nil {
			return []string{err.Error()}, nil
		}
	case "certificate":
		roots, err := certificatePool(f.certChain)
		if err != nil {
			return nil, err
		}
		if _, err := s.Bundle.VerifyCertificate(roots, now); err != nil {
			return []string{err.Error()}, nil
		}
	case "sigstore":
		root, err := trustedRoot(f.trusted)
		if err != nil {
			return nil, err
		}
		if _, err := keyless.Verify(s.Bundle, root, keyless.Identity{Subject: f.identity, Issuer: f.identityProvider}); errors.Is(err, keyless.ErrTrust) {
			return nil, err
		} else if err != nil {
			return []string{err.Error()}, nil
		}
	}
	extra, err := f.ignorePaths()
	if err != nil {
		return nil, err
	}
	_, problems, err := signing.Compare(ctx, f.model, s, signing.Options{SignatureFile: f.bundle, IgnoreUnsigned: f.ignoreUnsigned, Extra: extra})
	if err != nil {
		return nil, err
	}
	var why []string
	for _, p := range problems {
		why = append(why, fmt.Sprintf("%s %s: %s", p.Rule, p.Subject, p.Detail))
	}
	return why, nil
}

// certificatePool trusts the given certificates, or the system's where none are.
func certificatePool(files []string) (*x509.CertPool, error) {
	if len(files) == 0 {
		return x509.SystemCertPool()
	}
	pool := x509.NewCertPool()
	for _, file := range files {
		certs, err := bundle.LoadCertificates(file)
		if err != nil {
			return nil, err
		}
		for _, c := range certs {
			pool.AddCert(c)
		}
	}
	return pool, nil
}

// trustedRoot reads a trusted root, alone or inside a client trust configuration.
func trustedRoot(path string) ([]byte, error) {
	if path == "" {
		return nil, usagef("--trust-config is missing: a keyless signature is verified offline, against a trusted root that you have")
	}
	src, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var config struct {
		TrustedRoot json.RawMessage `json:"trustedRoot"`
	}
	if err := json.Unmarshal(src, &config); err != nil {
		return nil, usagef("%s: %w", path, err)
	}
	if len(config.TrustedRoot) > 0 {
		return config.TrustedRoot, nil
	}
	return src, nil
}

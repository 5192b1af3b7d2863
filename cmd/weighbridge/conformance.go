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
	"time"

	"github.com/spf13/cobra"

	"github.com/weighbridge/weighbridge/supply/bundle"
	"github.com/weighbridge/weighbridge/supply/signing"
	"github.com/weighbridge/weighbridge/supply/signing/keyless"
)

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

package main

import (
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/weighbridge/weighbridge/supply/oci"
)

func pushCommand(a *app) *cobra.Command {
	var tags []string
	var asJSON bool
	var key signFlags
	c := &cobra.Command{
		Use:   "push DIR REF",
		Short: "Put a model folder, its signature and its claims into an OCI registry or layout",
		Long: `push writes the folder as a CNCF ModelPack: one layer per file, as it is, so that
a layer's digest is the file's SHA-256. model.sig and every line of claims.jsonl
refer to it as Sigstore bundles, which cosign finds; bom.json and
provenance.json come along as the drafts they are.

REF is HOST/REPOSITORY:TAG, oci:FOLDER[:TAG] for an OCI image layout, or
oci-archive:FILE.tar[:TAG] for a tar of one. The digest of the model's manifest
goes to standard output. It depends on the files alone, and on
SOURCE_DATE_EPOCH where that is set; pushing the same folder again changes
nothing.

With --key the digest is signed too, so that cosign verify accepts it:
  cosign verify --key key.pub --insecure-ignore-tlog HOST/REPOSITORY@DIGEST
The signature becomes a line of the folder's claims.jsonl as well.

Credentials are those of docker login or oras login.`,
		Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			ref, err := oci.ParseReference(args[1])
			if err != nil {
				return err
			}
			o := oci.PushOptions{Tags: tags}
			if o.Client, err = ociClient(ref, c.Flags()); err != nil {
				return err
			}
			if o.Created, err = oci.Created(a.Getenv("SOURCE_DATE_EPOCH")); err != nil {
				return err
			}
			if key.config.Key != "" {
				if o.Signer, err = loadSigner(key); err != nil {
					return err
				}
			}
			pushed, err := oci.Push(c.Context(), args[0], ref, o)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(a, pushed)
			}
			fmt.Fprintln(a.Stdout, pushed.Digest)
			return nil
		},
	}
	fs := c.Flags()
	fs.StringArrayVar(&tags, "tag", nil, "a further tag of the same manifest (repeatable)")
	fs.StringVar(&key.config.Key, "key", "", "PEM file of the private key to sign the manifest's digest with")
	fs.StringVar(&key.passwordFile, "password-file", "", "file with the password of an encrypted key")
	fs.Bool("plain-http", false, "speak to the registry without TLS (on this machine the default; =false for TLS there too)")
	fs.BoolVar(&asJSON, "json", false, "print what was written as JSON")
	return c
}

// ociClient finds the credentials where the reference is to a registry.
func ociClient(ref oci.Reference, fs *pflag.FlagSet) (c oci.Client, err error) {
	if c.PlainHTTP, err = fs.GetBool("plain-http"); err != nil {
		return c, err
	}
	c.TLS = fs.Changed("plain-http") && !c.PlainHTTP
	if ref.Transport == oci.Registry {
		c.Credentials, err = oci.DockerCredentials()
	}
	return c, err
}

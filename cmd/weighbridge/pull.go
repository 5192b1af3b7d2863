package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/weighbridge/weighbridge/supply/oci"
)

func pullCommand(a *app) *cobra.Command {
	var asJSON bool
	var most int64
	c := &cobra.Command{
		Use:   "pull REF DIR",
		Short: "Bring a model and its evidence from an OCI registry or layout into a new folder",
		Long: `pull reads ModelPack, KitOps, Docker and Ollama artifacts. What refers to the
artifact becomes model.sig, claims.jsonl, bom.json and provenance.json in DIR.

REF is HOST/REPOSITORY[:TAG|@DIGEST], oci:FOLDER[:TAG|@DIGEST] for an OCI image
layout, or oci-archive:FILE.tar[:TAG|@DIGEST] for a tar of one. DIR appears when
everything is there with the digests and sizes announced, or not at all. The
digest of the manifest goes to standard output.

pull trusts nobody and says nothing about signatures: weighbridge verify does.
Credentials are those of docker login or oras login.`,
		Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			if most < 0 {
				return usagef("--max-bytes is %d; it must not be negative", most)
			}
			ref, err := oci.ParseReference(args[0])
			if err != nil {
				return err
			}
			client, err := ociClient(ref, c.Flags())
			if err != nil {
				return err
			}
			client.Limits.Bytes = most
			pulled, err := oci.Pull(c.Context(), ref, args[1], client)
			if err != nil {
				return err
			}
			for _, s := range pulled.Skipped {
				fmt.Fprintf(a.Stderr, "weighbridge: left out %s: %s\n", s.Digest, visible(s.Why))
			}
			if asJSON {
				return printJSON(a, pulled)
			}
			fmt.Fprintln(a.Stdout, pulled.Digest)
			return nil
		},
	}
	fs := c.Flags()
	fs.Bool("plain-http", false, "speak to the registry without TLS (on this machine the default; =false for TLS there too)")
	fs.Int64Var(&most, "max-bytes", 0, "refuse artifacts with more bytes (default 4 TiB)")
	fs.BoolVar(&asJSON, "json", false, "print what came as JSON")
	return c
}

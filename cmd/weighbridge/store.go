package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/supply/store"
)

// defaultGrace is how long garbage is kept: longer than an interrupted download
// is likely to wait for its next attempt.
const defaultGrace = 7 * 24 * time.Hour

func storeCommand(a *app) *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use:   "store",
		Short: "Look after the store of admitted models",
		Long: `A MODEL is named by its OMS root (in either order), by its identity, or by the
first eight or more digits of one of them.`,
	}
	c.PersistentFlags().StringVar(&dir, "store", "", "the store")
	open := func() (*store.Store, error) {
		if dir == "" {
			return nil, usagef("--store is missing")
		}
		return store.Open(dir)
	}
	c.AddCommand(storeList(a, open), storeShow(a, open), storePath(a, open), storeFsck(a, open), storeGC(a, open))
	return c
}

type opener func() (*store.Store, error)

// model opens the store and finds one model in it. The caller closes the store.
func (open opener) model(key string) (*store.Store, *store.Entry, error) {
	s, err := open()
	if err != nil {
		return nil, nil, err
	}
	e, err := s.Get(key)
	if err != nil {
		return nil, nil, errors.Join(err, s.Close())
	}
	return s, e, nil
}

func storeList(a *app, open opener) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "list",
		Short: "List the admitted models",
		RunE: func(*cobra.Command, []string) error {
			s, err := open()
			if err != nil {
				return err
			}
			defer s.Close()
			all := []*store.Entry{}
			for e, err := range s.Entries() {
				if err != nil {
					return err
				}
				all = append(all, e)
			}
			if asJSON {
				return printJSON(a, all)
			}
			w := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintf(w, "IDENTITY\tROOT\tFILES\tBYTES\tFROM\n")
			for _, e := range all {
				m, err := e.Manifest()
				if err != nil {
					return err
				}
				fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\n", e.Identity, e.Root[:16], len(e.Files), m.Bytes(), visible(e.Origin.Kind+":"+e.Origin.Location))
			}
			return w.Flush()
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print the records as JSON")
	return c
}

func storeShow(a *app, open opener) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "show MODEL",
		Short: "Show what the store knows about a model",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			s, e, err := open.model(args[0])
			if err != nil {
				return err
			}
			defer s.Close()
			made, err := e.Made()
			if err != nil {
				return err
			}
			if asJSON {
				ids := []string{}
				for _, m := range made {
					ids = append(ids, m.Identity)
				}
				return printJSON(a, struct {
					*store.Entry
					Made []string `json:"made"`
				}{e, ids})
			}
			return printEntry(a, e, made)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print the record as JSON")
	return c
}

func printEntry(a *app, e *store.Entry, made []*store.Entry) error {
	w := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
	line := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%s\t%s\n", name, visible(fmt.Sprintf(format, args...)))
	}
	line("identity", "%s", e.Identity)
	line("root", "sha256:%s", e.Root)
	if e.PythonRoot != e.Root {
		line("", "sha256:%s in the order of the Python implementation", e.PythonRoot)
	}
	line("from", "%s:%s", e.Origin.Kind, e.Origin.Location)
	line("record", "version %d", e.Version)
	for _, k := range record.EvidenceKinds {
		if s, ok := e.States[k]; ok {
			line(string(k), "%s", s)
		}
	}
	if e.Receipt != "" {
		line("ledger", "receipt sha256:%s of entry sha256:%s", e.Receipt, e.Record.Entry)
	} else {
		line("ledger", "the intake was not recorded")
	}
	if c := e.Conversion; c != nil {
		line("converted from", "%s by sha256:%s", c.Identity, c.Converter)
	}
	for _, m := range made {
		line("converted to", "%s", m.Identity)
	}
	for _, f := range e.Files {
		line("file", "sha256:%s %12d %s", f.SHA256, f.Bytes, f.Name)
	}
	for _, f := range e.Evidence {
		line("evidence", "sha256:%s %12d %s", f.SHA256, f.Bytes, f.Name)
	}
	return w.Flush()
}

func storePath(a *app, open opener) *cobra.Command {
	return &cobra.Command{
		Use:   "path MODEL",
		Short: "Lay a model out as a read-only folder and print its path",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			s, e, err := open.model(args[0])
			if err != nil {
				return err
			}
			defer s.Close()
			dir, err := e.Dir(c.Context())
			if err == nil {
				_, err = fmt.Fprintln(a.Stdout, filepath.Clean(dir))
			}
			return err
		},
	}
}

func storeFsck(a *app, open opener) *cobra.Command {
	var repair, asJSON bool
	c := &cobra.Command{
		Use:   "fsck",
		Short: "Hash every blob and read every record",
		Long: `fsck names each blob, record and folder that is not what its name says.

Exit codes: 0 the store is sound, or --repair made it so; 1 it is not.`,
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := open()
			if err != nil {
				return err
			}
			defer s.Close()
			h, err := s.Fsck(c.Context(), repair)
			if err != nil {
				return err
			}
			if asJSON {
				err = printJSON(a, h)
			} else {
				for _, b := range h.Bad {
					mended := ""
					if b.Repaired {
						mended = " (out of use now)"
					}
					fmt.Fprintf(a.Stdout, "%s %s: %s%s\n", b.Rule, visible(b.Path), visible(b.Detail), mended)
				}
				_, err = fmt.Fprintf(a.Stdout, "%d models, %d records, %d blobs, %d bytes: %d bad\n", h.Models, h.Records, h.Blobs, h.Bytes, len(h.Bad))
			}
			for _, b := range h.Bad {
				// A missing blob cannot be moved: its records were.
				if err == nil && !b.Repaired && !(repair && b.Rule == store.BlobMissing) {
					return verdictCode(exitReject)
				}
			}
			return err
		},
	}
	c.Flags().BoolVar(&repair, "repair", false, "move what is bad aside")
	c.Flags().BoolVar(&asJSON, "json", false, "print the findings as JSON")
	return c
}

func storeGC(a *app, open opener) *cobra.Command {
	var dry, asJSON bool
	var grace time.Duration
	c := &cobra.Command{
		Use:   "gc",
		Short: "Remove what no admitted model refers to",
		RunE: func(c *cobra.Command, _ []string) error {
			if grace < 0 {
				return usagef("--grace %v is negative", grace)
			}
			s, err := open()
			if err != nil {
				return err
			}
			defer s.Close()
			got, err := s.Collect(c.Context(), store.Collection{Now: time.Now(), Grace: grace, DryRun: dry})
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(a, got)
			}
			for _, p := range got.Paths {
				fmt.Fprintln(a.Stdout, visible(p))
			}
			verb := "removed"
			if dry {
				verb = "would be removed"
			}
			_, err = fmt.Fprintf(a.Stdout, "%d paths, %d bytes %s\n", len(got.Paths), got.Bytes, verb)
			return err
		},
	}
	c.Flags().BoolVar(&dry, "dry-run", false, "only say what would go")
	c.Flags().DurationVar(&grace, "grace", defaultGrace, "keep what was written to within this time")
	c.Flags().BoolVar(&asJSON, "json", false, "print what went as JSON")
	return c
}

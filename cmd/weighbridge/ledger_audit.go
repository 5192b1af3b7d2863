package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weighbridge/weighbridge/supply/ledger/audit"
	"github.com/weighbridge/weighbridge/supply/ledger/entry"
)

func ledgerAudit(a *app) *cobra.Command {
	var r readerFlags
	var from, state, signers string
	var asJSON, forget bool
	c := &cobra.Command{
		Use:   "audit DIR [--key KEY | --policy FILE] [--from CHECKPOINT]",
		Short: "Recompute the whole ledger and name the first bad entry",
		Long: `audit recomputes every hash from the entries, reads every entry, follows every
alias, and checks the checkpoint's signatures. It keeps the checkpoint that it
saw, in DIR.seen or --state, and next time finds a ledger that was rolled back
or forked since. Keep that file where the ledger's operator cannot write.

Exit codes: 0 nothing wrong, 1 the first bad thing is named, 2 it could not be
audited.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			p, err := r.trust(a, args[0])
			if err != nil {
				return err
			}
			o := audit.Options{Policy: p}
			if state == "" {
				state = filepath.Clean(args[0]) + ".seen"
			}
			if from != "" {
				o.Seen, err = os.ReadFile(from)
			} else if !forget {
				if o.Seen, err = os.ReadFile(state); errors.Is(err, fs.ErrNotExist) {
					err = nil
				}
			}
			if err == nil && signers != "" {
				o.Signers, err = readSigners(signers)
			}
			if err != nil {
				return err
			}
			res, err := audit.Run(c.Context(), args[0], o)
			if err != nil {
				return err
			}
			if asJSON {
				err = printJSON(a, res)
			} else {
				printAudit(a, res)
			}
			if err != nil {
				return err
			}
			if res.Bad != nil {
				return verdictCode(exitReject)
			}
			if forget {
				return nil
			}
			return writeFile(state, res.Checkpoint.Raw)
		},
	}
	r.register(c)
	c.Flags().StringVar(&from, "from", "", "file of a checkpoint seen before (default: the one kept in --state)")
	c.Flags().StringVar(&state, "state", "", "keep the last checkpoint seen in this file (default DIR.seen)")
	c.Flags().BoolVar(&forget, "no-state", false, "neither read nor keep the last checkpoint seen")
	c.Flags().StringVar(&signers, "allowed-signers", "", "check people's signatures too")
	c.Flags().BoolVar(&asJSON, "json", false, "print the result as JSON")
	return c
}

func printAudit(a *app, r *audit.Result) {
	if r.Bad != nil {
		fmt.Fprintf(a.Stdout, "BAD %s\n", visible(r.Bad.Error()))
		return
	}
	fmt.Fprintf(a.Stdout, "%s: %d entries, every hash recomputed\n", visible(r.Origin), r.Size)
	for _, t := range entry.Types() {
		if n := r.Types[string(t)]; n > 0 {
			fmt.Fprintf(a.Stdout, "  %-16s %d\n", t, n)
		}
	}
	for _, l := range []struct {
		n    int64
		what string
	}{
		{int64(len(r.Pending)), "stored and not proven yet: run `weighbridge ledger publish`"},
		{r.Signed, "signatures of people hold"},
		{r.Unchecked, "signatures of people not checked (--allowed-signers)"},
		{r.ClockBack, "entries are dated before the one ahead of them"},
	} {
		if l.n > 0 {
			fmt.Fprintf(a.Stdout, "%d %s\n", l.n, l.what)
		}
	}
	if len(r.Cosigned) > 0 {
		fmt.Fprintf(a.Stdout, "cosigned by %s\n", visible(strings.Join(r.Cosigned, ", ")))
	}
}

func ledgerShow(a *app) *cobra.Command {
	var r readerFlags
	var typ, model string
	var asJSON bool
	c := &cobra.Command{
		Use:   "show DIR [INDEX]",
		Short: "List entries, or print one in its canonical form",
		Long: `show reads entries without recomputing the tree: audit does that. With an
index it prints the entry's exact bytes, which receipts are verified against.`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(_ *cobra.Command, args []string) error {
			_, d, at, err := r.open(a, args[0])
			if err != nil {
				return err
			}
			stored, err := d.Stored()
			if err != nil {
				return err
			}
			if len(args) == 2 {
				i, err := strconv.ParseInt(args[1], 10, 64)
				if err != nil || i < 0 || i >= stored.N {
					return usagef("index %q: want 0 to %d", args[1], stored.N-1)
				}
				b, err := d.Entry(i, stored.N)
				if err != nil {
					return err
				}
				_, err = a.Stdout.Write(b)
				return err
			}
			for i, item := range d.Bundles(0, stored.N) {
				if item.Err != nil {
					return item.Err
				}
				e, err := entry.Parse(item.Raw)
				if err != nil {
					return fmt.Errorf("entry %d: %w", i, err)
				}
				if typ != "" && typ != string(e.Type) || model != "" && entry.SHA256(model) != e.Model {
					continue
				}
				if err := showEntry(a, i, i < at.N, e, item.Raw, asJSON); err != nil {
					return err
				}
			}
			return nil
		},
	}
	r.register(c)
	c.Flags().StringVar(&typ, "type", "", "entries of this type only")
	c.Flags().StringVar(&model, "model", "", "entries about this OMS root only")
	c.Flags().BoolVar(&asJSON, "json", false, "one JSON object a line: index, proven, entry")
	return c
}

func showEntry(a *app, i int64, proven bool, e entry.Entry, raw []byte, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(a.Stdout).Encode(struct {
			Index  int64           `json:"index"`
			Proven bool            `json:"proven"`
			Entry  json.RawMessage `json:"entry"`
		}{i, proven, raw})
	}
	words := []string{fmt.Sprintf("%6d  %s  %-15s", i, e.Time, e.Type)}
	for _, w := range []string{e.Decision, e.Environment, e.Alias, short(string(e.Model)), e.Target, e.Actor, e.Reason} {
		if w != "" {
			words = append(words, w)
		}
	}
	if !proven {
		words = append(words, "(not proven)")
	}
	_, err := fmt.Fprintln(a.Stdout, visible(strings.Join(words, "  ")))
	return err
}

// short cuts a digest to what a person compares.
func short(d string) string {
	if len(d) > len("sha256:")+12 {
		return d[:len("sha256:")+12]
	}
	return d
}

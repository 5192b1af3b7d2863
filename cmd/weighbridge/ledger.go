package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/weighbridge/weighbridge/internal/durable"
	"github.com/weighbridge/weighbridge/supply/ledger"
	"github.com/weighbridge/weighbridge/supply/ledger/approval"
	"github.com/weighbridge/weighbridge/supply/ledger/entry"
	"github.com/weighbridge/weighbridge/supply/ledger/proof"
	"github.com/weighbridge/weighbridge/supply/ledger/tiles"
)

func ledgerCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "ledger",
		Short: "Keep and check the transparency log of everything the gate did",
		Long: `The ledger is a tamper-evident log in a folder (C2SP tlog-tiles). Every intake,
verification, verdict, approval, move of an alias and revocation is an entry;
each has a receipt that anyone can verify offline. See docs/ledger.md.`,
	}
	c.AddCommand(ledgerInit(a), ledgerDraft(a), ledgerAppend(a), ledgerPublish(a), ledgerProve(a), ledgerVerify(a),
		ledgerAudit(a), ledgerShow(a), ledgerWitness(a))
	return c
}

func ledgerInit(a *app) *cobra.Command {
	var origin, keyOut string
	c := &cobra.Command{
		Use:   "init DIR --origin NAME",
		Short: "Make an empty ledger and its key",
		Long: `init makes an empty ledger in DIR and a private key beside it, in DIR.key, and
prints the verifier key. Give the verifier key to everyone who verifies, by a
way that does not lead through this folder; keep the private key where only the
gate can read it.`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if origin == "" {
				return usagef("--origin is missing: a name for the ledger that nobody else uses, such as ledger.example.com/gate")
			}
			if keyOut == "" {
				keyOut = filepath.Clean(args[0]) + ".key"
			}
			private, verifier, err := ledger.GenerateKey(origin)
			if err != nil {
				return err
			}
			key, err := ledger.ParseKey(private, verifier)
			if err != nil {
				return err
			}
			// The key first: a ledger without its key could never grow.
			if err := ledger.WriteKeyFile(keyOut, private); err != nil {
				return err
			}
			if err := ledger.Create(args[0], key); err != nil {
				return errors.Join(err, os.Remove(keyOut))
			}
			fmt.Fprintf(a.Stderr, "ledger %s made; private key in %s\n", visible(args[0]), visible(keyOut))
			fmt.Fprintln(a.Stdout, verifier)
			return nil
		},
	}
	c.Flags().StringVar(&origin, "origin", "", "the ledger's name, such as ledger.example.com/gate")
	c.Flags().StringVar(&keyOut, "key-out", "", "write the private key there (default DIR.key)")
	return c
}

func ledgerDraft(a *app) *cobra.Command {
	var f entryFlags
	var out string
	c := &cobra.Command{
		Use:   "draft --type approval … -o approval.json",
		Short: "Write an entry for a person to sign with an SSH key",
		Long: `draft writes the canonical bytes of an entry, ready to be signed:

  weighbridge ledger draft --type approval … -o approval.json
  ssh-keygen -Y sign -f ~/.ssh/id_ed25519 -n ` + approval.Namespace + ` approval.json
  weighbridge ledger append DIR --entry approval.json --signature approval.json.sig --allowed-signers FILE`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			e, err := f.entry(time.Now())
			if err != nil {
				return err
			}
			var random [16]byte
			if _, err := rand.Read(random[:]); err != nil {
				return err
			}
			e.Nonce = entry.NonceOf(random)
			raw, err := e.Draft()
			if err != nil {
				return err
			}
			if out == "" {
				_, err = a.Stdout.Write(raw)
				return err
			}
			return writeFile(out, raw)
		},
	}
	f.register(c)
	c.Flags().StringVarP(&out, "output", "o", "", "write to this file (default: standard output)")
	return c
}

func writeFile(path string, b []byte) error {
	return durable.Write(path, 0o644, func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	})
}

// writerFlags open a ledger for writing.
type writerFlags struct {
	key, witnesses, signers string
	timeout                 time.Duration
}

func (f *writerFlags) register(c *cobra.Command) {
	fs := c.Flags()
	fs.StringVar(&f.key, "key", "", "the ledger's private key file (default DIR.key)")
	fs.StringVar(&f.witnesses, "witnesses", "", "C2SP tlog-policy file with the witnesses to ask and their quorum")
	fs.StringVar(&f.signers, "allowed-signers", "", "allowed_signers file (ssh-keygen): who may sign entries")
	fs.DurationVar(&f.timeout, "timeout", 10*time.Second, "longest wait for a checkpoint")
}

func (f *writerFlags) open(ctx context.Context, dir string) (*ledger.Ledger, error) {
	o := ledger.Options{Timeout: f.timeout}
	if f.key == "" {
		f.key = filepath.Clean(dir) + ".key"
	}
	private, err := ledger.ReadKeyFile(f.key)
	if err != nil {
		return nil, err
	}
	verifier, err := ledger.VerifierKey(dir)
	if err != nil {
		return nil, err
	}
	if o.Key, err = ledger.ParseKey(private, verifier); err != nil {
		return nil, err
	}
	if f.witnesses != "" {
		if o.Witnesses, err = os.ReadFile(f.witnesses); err != nil {
			return nil, err
		}
	}
	if f.signers != "" {
		if o.Signers, err = readSigners(f.signers); err != nil {
			return nil, err
		}
	}
	return ledger.Open(ctx, dir, o)
}

func readSigners(path string) (*approval.Signers, error) {
	src, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	s, err := approval.Parse(src)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

func ledgerAppend(a *app) *cobra.Command {
	var f entryFlags
	var w writerFlags
	var file, signature, out string
	var later bool
	c := &cobra.Command{
		Use:   "append DIR --type TYPE --model ROOT … | --entry FILE [--signature FILE]",
		Short: "Add an entry and wait for its proof",
		Long: `append adds an entry and returns when a checkpoint, cosigned as --witnesses
asks, covers it. If none does in time it exits with 3: the entry is stored all
the same, and the next checkpoint covers it; do not append it again.

--durable returns when the entry is on disk. Only a rollback may do so.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			e, err := entryFrom(&f, file, signature)
			if err != nil {
				return err
			}
			raw, err := e.Canonical()
			if err != nil {
				return err
			}
			if out != "" { // before the entry exists, so that a crash cannot lose it
				if err := writeFile(out+".json", raw); err != nil {
					return err
				}
			}
			if later && !c.Flags().Changed("timeout") {
				w.timeout = 2 * time.Second // for witnesses that do answer
			}
			l, err := w.open(c.Context(), args[0])
			if err != nil {
				return err
			}
			return appendEntry(c.Context(), a, l, e, out, later)
		},
	}
	f.register(c)
	w.register(c)
	c.Flags().StringVar(&file, "entry", "", "the entry's file, as `ledger draft` writes it, in place of the flags")
	c.Flags().StringVar(&signature, "signature", "", "what ssh-keygen -Y sign made of --entry")
	c.Flags().BoolVar(&later, "durable", false, "return when the entry is on disk, and prove it later (rollbacks only)")
	c.Flags().StringVarP(&out, "out", "o", "", "write PREFIX.json (the entry) and PREFIX.tlog-proof (its receipt)")
	return c
}

func entryFrom(f *entryFlags, file, signature string) (entry.Entry, error) {
	if file == "" {
		if signature != "" {
			return entry.Entry{}, usagef("--signature needs --entry: the file that was signed")
		}
		return f.entry(time.Now())
	}
	if f.typ != "" {
		return entry.Entry{}, usagef("--entry and --type: give one of them")
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return entry.Entry{}, err
	}
	if signature == "" {
		e, err := entry.Parse(raw)
		if err != nil {
			return e, fmt.Errorf("%s: %w", file, err)
		}
		return e, nil
	}
	e, err := entry.ParseDraft(raw)
	if err != nil {
		return e, fmt.Errorf("%s: %w", file, err)
	}
	armored, err := os.ReadFile(signature)
	if err != nil {
		return e, err
	}
	return approval.Attach(e, armored)
}

func appendEntry(ctx context.Context, a *app, l *ledger.Ledger, e entry.Entry, out string, later bool) (err error) {
	defer func() {
		if closing := l.Close(); err == nil && !(later && errors.Is(closing, ledger.ErrUnproven)) {
			err = closing
		}
	}()
	if later {
		i, err := l.AppendDurable(ctx, e)
		if err != nil {
			return err
		}
		fmt.Fprintf(a.Stderr, "ALERT: rollback %d acts before it is proven; run `weighbridge ledger publish` when the witnesses answer\n", i)
		fmt.Fprintf(a.Stdout, "entry %d stored, not proven\n", i)
		return nil
	}
	r, err := l.Append(ctx, e)
	if err != nil {
		return err
	}
	if out != "" {
		if err := writeFile(out+".tlog-proof", r.Marshal()); err != nil {
			return err
		}
	}
	fmt.Fprintf(a.Stdout, "entry %d proven\n", r.Index)
	return nil
}

func ledgerPublish(a *app) *cobra.Command {
	var w writerFlags
	c := &cobra.Command{
		Use:   "publish DIR",
		Short: "Publish a checkpoint over entries that are stored and not proven",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			l, err := w.open(c.Context(), args[0])
			if err != nil {
				return err
			}
			p, err := l.Publish(c.Context())
			if err := errors.Join(err, l.Close()); err != nil {
				return err
			}
			fmt.Fprintf(a.Stdout, "%d entries proven\n", p.N)
			return nil
		},
	}
	w.register(c)
	return c
}

// ledgerExit sorts the errors of the ledger: what is stored and not proven
// wants somebody to look; the rest of these the user can mend.
func ledgerExit(err error) (code int, ok bool) {
	if errors.Is(err, ledger.ErrUnproven) {
		return exitEscalate, true
	}
	for _, mine := range []error{
		ledger.ErrKey, ledger.ErrExists, ledger.ErrLocked, ledger.ErrStale, ledger.ErrDurableOnly, ledger.ErrUnsigned,
		entry.ErrEntry, approval.ErrSigners, approval.ErrSignature, tiles.ErrNotLedger, tiles.ErrDamaged,
		proof.ErrPolicy, proof.ErrFormat, proof.ErrSignature, proof.ErrQuorum, proof.ErrProof,
	} {
		if errors.Is(err, mine) {
			return exitUsage, true
		}
	}
	return 0, false
}

package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weighbridge/weighbridge/supply/ledger"
	"github.com/weighbridge/weighbridge/supply/ledger/entry"
	"github.com/weighbridge/weighbridge/supply/ledger/proof"
	"github.com/weighbridge/weighbridge/supply/ledger/tiles"
)

// readerFlags say whom a reader trusts.
type readerFlags struct{ key, policy string }

func (f *readerFlags) register(c *cobra.Command) {
	c.Flags().StringVar(&f.key, "key", "", "the ledger's verifier key (origin+hash+base64), or a file with it")
	c.Flags().StringVar(&f.policy, "policy", "", "C2SP tlog-policy file: logs, witnesses and quorum to trust")
}

// open reads a ledger's folder up to its checkpoint, which has to be trusted.
func (f *readerFlags) open(a *app, dir string) (*proof.Policy, tiles.Dir, *proof.Checkpoint, error) {
	p, err := f.trust(a, dir)
	if err != nil {
		return nil, "", nil, err
	}
	d := tiles.Dir(dir)
	raw, err := d.Checkpoint()
	if err != nil {
		return nil, "", nil, err
	}
	at, err := p.Open(raw)
	return p, d, at, err
}

// trust makes the policy; dir is asked for its own key if nothing was given,
// and may be empty.
func (f *readerFlags) trust(a *app, dir string) (*proof.Policy, error) {
	key := f.key
	if key != "" && strings.Count(key, "+") < 2 {
		b, err := os.ReadFile(key)
		if err != nil {
			return nil, err
		}
		key = strings.TrimSpace(string(b))
	}
	if f.policy != "" {
		src, err := os.ReadFile(f.policy)
		if err != nil {
			return nil, err
		}
		p, err := proof.ParsePolicy(src)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.policy, err)
		}
		if key != "" {
			return p.WithLog(key)
		}
		if len(p.Logs()) == 0 {
			return nil, usagef("%s names no log: give --key too", f.policy)
		}
		return p, nil
	}
	if key == "" {
		if dir == "" {
			return nil, usagef("--key or --policy is needed: whom to trust")
		}
		own, err := ledger.VerifierKey(dir)
		if err != nil {
			return nil, err
		}
		fmt.Fprintln(a.Stderr, "the verifier key is the folder's own: give --key, from elsewhere, to find a ledger that was replaced")
		key = own
	}
	return proof.ForKey(key)
}

func ledgerProve(a *app) *cobra.Command {
	var r readerFlags
	var file, since, out string
	c := &cobra.Command{
		Use:   "prove DIR INDEX | --entry FILE | --since CHECKPOINT",
		Short: "Write the receipt of an entry, or the proof that the ledger only grew",
		Args:  cobra.RangeArgs(1, 2),
		RunE: func(_ *cobra.Command, args []string) error {
			if n := len(args) - 1 + count(file != "", since != ""); n != 1 {
				return usagef("give one of INDEX, --entry and --since")
			}
			p, d, at, err := r.open(a, args[0])
			if err != nil {
				return err
			}
			var b []byte
			if since != "" {
				b, err = proveSince(d, p, at, since)
			} else {
				b, err = proveEntry(d, at, args[1:], file)
			}
			if err != nil {
				return err
			}
			if out == "" {
				_, err = a.Stdout.Write(b)
				return err
			}
			return writeFile(out, b)
		},
	}
	r.register(c)
	c.Flags().StringVar(&file, "entry", "", "file of the entry, in its canonical form")
	c.Flags().StringVar(&since, "since", "", "file of an older checkpoint")
	c.Flags().StringVarP(&out, "output", "o", "", "write to this file (default: standard output)")
	return c
}

func count(bs ...bool) (n int) {
	for _, b := range bs {
		if b {
			n++
		}
	}
	return n
}

func proveSince(d tiles.Dir, p *proof.Policy, at *proof.Checkpoint, since string) ([]byte, error) {
	raw, err := os.ReadFile(since)
	if err != nil {
		return nil, err
	}
	old, err := p.Open(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", since, err)
	}
	if old.N > at.N {
		return nil, fmt.Errorf("%w: the ledger has %d entries, and %s has %d", proof.ErrProof, at.N, since, old.N)
	}
	x, err := d.Extension(at, old.N)
	if err != nil {
		return nil, err
	}
	return x.Marshal(), nil
}

func proveEntry(d tiles.Dir, at *proof.Checkpoint, index []string, file string) ([]byte, error) {
	i := int64(-1)
	if file != "" {
		want, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		for n, item := range d.Bundles(0, at.N) {
			if item.Err != nil {
				return nil, item.Err
			}
			if bytes.Equal(item.Raw, want) {
				i = n
				break
			}
		}
		if i < 0 {
			return nil, fmt.Errorf("%w: %s is not among the %d proven entries (`weighbridge ledger show` lists them)", proof.ErrProof, file, at.N)
		}
	} else {
		var err error
		if i, err = strconv.ParseInt(index[0], 10, 64); err != nil || i < 0 {
			return nil, usagef("index %q is not a number", index[0])
		}
	}
	rc, err := d.Prove(at, i)
	if err != nil {
		return nil, err
	}
	return rc.Marshal(), nil
}

func ledgerVerify(a *app) *cobra.Command {
	var r readerFlags
	var file, since string
	var asJSON bool
	c := &cobra.Command{
		Use:   "verify PROOF --entry FILE --key KEY [--policy FILE]",
		Short: "Verify a receipt offline",
		Long: `verify checks that PROOF, a receipt (.tlog-proof), shows the entry to be in a
ledger that --key or --policy trusts; or with --since, that PROOF shows a ledger
to extend an older checkpoint. It needs no ledger and no network.

Exit codes: 0 it holds, 1 it does not, 2 it could not be checked.`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if count(file != "", since != "") != 1 {
				return usagef("give one of --entry and --since")
			}
			p, err := r.trust(a, "")
			if err != nil {
				return err
			}
			raw, err := os.ReadFile(args[0])
			if err != nil {
				return err
			}
			verify := verifyEntry
			if since != "" {
				file, verify = since, verifySince
			}
			about, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			res, err := verify(raw, about, p)
			if err != nil {
				res = &verified{Why: err.Error()}
			}
			if asJSON {
				if err := printJSON(a, res); err != nil {
					return err
				}
			} else {
				fmt.Fprintln(a.Stdout, visible(res.String()))
			}
			if err != nil {
				return verdictCode(exitReject)
			}
			return nil
		},
	}
	r.register(c)
	c.Flags().StringVar(&file, "entry", "", "file of the entry, in its canonical form")
	c.Flags().StringVar(&since, "since", "", "file of the older checkpoint")
	c.Flags().BoolVar(&asJSON, "json", false, "print the result as JSON")
	return c
}

// verified is the result of `ledger verify`.
type verified struct {
	Holds    bool     `json:"holds"`
	Why      string   `json:"why,omitempty"`
	Origin   string   `json:"origin,omitempty"`
	Size     int64    `json:"size,omitempty"`
	Index    *int64   `json:"index,omitempty"`
	Since    *int64   `json:"since,omitempty"`
	Cosigned []string `json:"cosigned,omitempty"`
}

func (v *verified) String() string {
	if !v.Holds {
		return "does not hold: " + v.Why
	}
	by := ""
	if len(v.Cosigned) > 0 {
		by = ", cosigned by " + strings.Join(v.Cosigned, ", ")
	}
	if v.Since != nil {
		return fmt.Sprintf("holds: %s grew from %d to %d entries%s", v.Origin, *v.Since, v.Size, by)
	}
	return fmt.Sprintf("holds: entry %d of %d in %s%s", *v.Index, v.Size, v.Origin, by)
}

func verifyEntry(raw, about []byte, p *proof.Policy) (*verified, error) {
	if _, err := entry.Parse(about); err != nil {
		return nil, err
	}
	got, err := proof.Verify(raw, about, p)
	if err != nil {
		return nil, err
	}
	c := got.Checkpoint
	return &verified{Holds: true, Origin: c.Origin, Size: c.N, Index: &got.Index, Cosigned: c.Cosigned}, nil
}

func verifySince(raw, about []byte, p *proof.Policy) (*verified, error) {
	x, err := proof.ParseExtension(raw)
	if err != nil {
		return nil, err
	}
	old, err := p.Open(about)
	if err != nil {
		return nil, fmt.Errorf("the older checkpoint: %w", err)
	}
	now, err := p.Open(x.Checkpoint)
	if err != nil {
		return nil, err
	}
	if now.Origin != old.Origin {
		return nil, fmt.Errorf("%w: %s is not %s", proof.ErrProof, now.Origin, old.Origin)
	}
	if err := proof.CheckExtends(old.Tree, now.Tree, x.Path); err != nil {
		return nil, err
	}
	return &verified{Holds: true, Origin: now.Origin, Size: now.N, Since: &old.N, Cosigned: now.Cosigned}, nil
}

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/weighbridge/weighbridge/supply/ledger"
	"github.com/weighbridge/weighbridge/supply/ledger/proof"
	"github.com/weighbridge/weighbridge/supply/ledger/witness"
)

func ledgerWitness(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "witness",
		Short: "Run a witness: it sees that a ledger only grows",
		Long: `A witness cosigns a ledger's checkpoints as long as each extends the one before.
It protects from nothing if the ledger's own operator runs it.`,
	}
	c.AddCommand(witnessInit(a), witnessServe(a))
	return c
}

func witnessInit(a *app) *cobra.Command {
	var name, keyOut string
	c := &cobra.Command{
		Use:   "init --name NAME --key-out FILE",
		Short: "Make a witness' key and print its verifier key",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if name == "" || keyOut == "" {
				return usagef("--name and --key-out are needed")
			}
			private, _, err := ledger.GenerateKey(name)
			if err != nil {
				return err
			}
			s, err := proof.NewCosigner(private, time.Now)
			if err != nil {
				return err
			}
			if err := ledger.WriteKeyFile(keyOut, private); err != nil {
				return err
			}
			fmt.Fprintln(a.Stdout, s.VerifierKey())
			return nil
		},
	}
	c.Flags().StringVar(&name, "name", "", "the witness' name, such as witness.example.org/one")
	c.Flags().StringVar(&keyOut, "key-out", "", "write the private key there")
	return c
}

func witnessServe(a *app) *cobra.Command {
	var key, state, listen string
	var logs []string
	c := &cobra.Command{
		Use:   "serve --key FILE --state DIR --log KEY…",
		Short: "Answer add-checkpoint (C2SP tlog-witness) until interrupted",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if key == "" || state == "" || len(logs) == 0 {
				return usagef("--key, --state and at least one --log are needed")
			}
			private, err := ledger.ReadKeyFile(key)
			if err != nil {
				return err
			}
			signer, err := proof.NewCosigner(private, time.Now)
			if err != nil {
				return err
			}
			policy, err := proof.ForKey(logs[0])
			for _, l := range logs[1:] {
				if err == nil {
					policy, err = policy.WithLog(l)
				}
			}
			if err != nil {
				return err
			}
			w, err := witness.New(state, signer, policy, func(err error) {
				fmt.Fprintf(a.Stderr, "weighbridge: witness: %s\n", visible(err.Error()))
			})
			if err != nil {
				return err
			}
			return serve(c.Context(), a, listen, w)
		},
	}
	c.Flags().StringVar(&key, "key", "", "the witness' private key file")
	c.Flags().StringVar(&state, "state", "", "folder for the last checkpoint of each log")
	c.Flags().StringArrayVar(&logs, "log", nil, "verifier key of a ledger to cosign (repeatable)")
	c.Flags().StringVar(&listen, "listen", "127.0.0.1:7380", "address to listen on; put TLS in front of it")
	return c
}

// serve runs until ctx ends, then lets requests under way finish.
func serve(ctx context.Context, a *app, listen string, h http.Handler) error {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", listen)
	if err != nil {
		return usagef("--listen %s: %w", listen, err)
	}
	s := &http.Server{Handler: h, ReadTimeout: 30 * time.Second, WriteTimeout: 30 * time.Second, MaxHeaderBytes: 16 << 10}
	fmt.Fprintf(a.Stdout, "http://%s\n", l.Addr())
	stopped := make(chan error, 1)
	go func() { stopped <- s.Serve(l) }()
	select {
	case err := <-stopped:
		return err
	case <-ctx.Done():
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	err = s.Shutdown(end)
	if served := <-stopped; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

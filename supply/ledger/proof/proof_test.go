package proof_test

import (
	"bytes"
	"errors"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/weighbridge/weighbridge/supply/ledger/proof"
)

var example = []byte(`c2sp.org/tlog-proof@v1
extra YWdl
index 7
gSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ=
B95lDa8R83lS8n0eG+o0buTxRKQTYFi//1U8anccXmA=

example.com/fancylog
109482
sFodV/vSp5O8n9a8QpW6PRY97tfOSW5bsc2Xl/EQi08=

— example.com/fancylog hI2DJw==
`)

// What is read is written again byte for byte.
func TestReceiptRoundTrip(t *testing.T) {
	r, err := proof.ParseReceipt(example)
	if err != nil {
		t.Fatal(err)
	}
	if string(r.Extra) != "age" || r.Index != 7 || len(r.Path) != 2 {
		t.Errorf("%+v", r)
	}
	if got := r.Marshal(); !bytes.Equal(got, example) {
		t.Errorf("%s", got)
	}
}

func FuzzReceipt(f *testing.F) {
	f.Add(example)
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := proof.ParseReceipt(raw)
		if err != nil {
			if !errors.Is(err, proof.ErrFormat) {
				t.Fatal(err)
			}
			return
		}
		if got := r.Marshal(); !bytes.Equal(got, raw) {
			t.Fatalf("read %q, wrote %q", raw, got)
		}
	})
}

func FuzzExtension(f *testing.F) {
	f.Add([]byte("old 3\ngSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ=\n\nx\n1\nsFodV/vSp5O8n9a8QpW6PRY97tfOSW5bsc2Xl/EQi08=\n\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		x, err := proof.ParseExtension(raw)
		if err != nil {
			if !errors.Is(err, proof.ErrFormat) {
				t.Fatal(err)
			}
			return
		}
		if got := x.Marshal(); !bytes.Equal(got, raw) {
			t.Fatalf("read %q, wrote %q", raw, got)
		}
	})
}

func FuzzCheckpoint(f *testing.F) {
	_, checkpoint, _ := bytes.Cut(example, []byte("\n\n"))
	f.Add(checkpoint)
	f.Fuzz(func(t *testing.T, raw []byte) {
		if _, err := proof.ParseCheckpoint(raw); err != nil && !errors.Is(err, proof.ErrFormat) {
			t.Fatal(err)
		}
	})
}

func FuzzPolicy(f *testing.F) {
	f.Add([]byte("log l+e2741d2d+AVxw8aqOeMGGynIwUDZnv/YOM8tVil/dVMJbnXysNqmF\n# c\nwitness a k\ngroup g any a\nquorum g\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if _, err := proof.ParsePolicy(raw); err != nil && !errors.Is(err, proof.ErrPolicy) {
			t.Fatal(err)
		}
	})
}

func TestCheckExtends(t *testing.T) {
	var hashes []tlog.Hash
	store := tlog.HashReaderFunc(func(is []int64) (out []tlog.Hash, err error) {
		for _, i := range is {
			out = append(out, hashes[i])
		}
		return out, nil
	})
	var trees []tlog.Tree
	for n := range int64(70) {
		root, err := tlog.TreeHash(n, store)
		if err != nil {
			t.Fatal(err)
		}
		trees = append(trees, tlog.Tree{N: n, Hash: root})
		more, err := tlog.StoredHashes(n, []byte{byte(n)}, store)
		if err != nil {
			t.Fatal(err)
		}
		hashes = append(hashes, more...)
	}
	for _, old := range trees {
		for _, now := range trees {
			var path tlog.TreeProof
			if 0 < old.N && old.N < now.N {
				var err error
				if path, err = tlog.ProveTree(now.N, old.N, store); err != nil {
					t.Fatal(err)
				}
			}
			err := proof.CheckExtends(old, now, path)
			if (err == nil) != (old.N <= now.N) || err != nil && !errors.Is(err, proof.ErrProof) {
				t.Fatalf("%d to %d: %v", old.N, now.N, err)
			}
			forked := now
			forked.Hash[0] ^= 1
			if err := proof.CheckExtends(old, forked, path); old.N > 0 && !errors.Is(err, proof.ErrProof) {
				t.Fatalf("%d to a forked %d: %v", old.N, now.N, err)
			}
		}
	}
}

package stdio

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pipePair returns two connected Conns over non-blocking pipes.
func pipePair(t *testing.T) (a, b *Conn) {
	t.Helper()
	pipe := func() (r, w *os.File) {
		var p [2]int
		if err := unix.Pipe2(p[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
			t.Fatal(err)
		}
		return os.NewFile(uintptr(p[0]), "r"), os.NewFile(uintptr(p[1]), "w")
	}
	r1, w1 := pipe()
	r2, w2 := pipe()
	a, b = New(r1, w2), New(r2, w1)
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

func TestHTTP2OverPipes(t *testing.T) {
	host, guest := pipePair(t)
	srv := &http.Server{Protocols: Protocols(), HTTP2: HTTP2(), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		fmt.Fprintf(w, "%s %d", r.Proto, n)
	})}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(Listen(guest)) }()

	tr := &http.Transport{Protocols: Protocols(), HTTP2: HTTP2(), DialContext: func(context.Context, string, string) (net.Conn, error) { return host, nil }}
	for range 3 {
		req, _ := http.NewRequest("POST", "http://box/x", io.LimitReader(zeros{}, 3<<20))
		res, err := tr.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		got, _ := io.ReadAll(res.Body)
		if want := "HTTP/2.0 3145728"; string(got) != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if host.Received() == 0 || guest.Received() < 9<<20 {
		t.Errorf("received %d and %d bytes: the counters do not count", host.Received(), guest.Received())
	}
	guest.Close()
	if err := <-served; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Serve ended with %v, want net.ErrClosed", err)
	}
}

func TestDeadlineReachesThePipe(t *testing.T) {
	a, _ := pipePair(t)
	if err := a.SetDeadline(time.Now().Add(-time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Read: %v, want a passed deadline", err)
	}
	if _, err := a.Write(make([]byte, 1<<20)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Write: %v, want a passed deadline", err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

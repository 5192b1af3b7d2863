package oci

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// userAgent is all that a registry learns of this program.
const userAgent = "weighbridge"

// newHTTPClient makes a client that stalls no longer than limits.Idle, speaks
// plain http only where it may, and follows few redirects. These rules hold for
// every request, those to token services included, because they sit below the
// code that makes the requests.
func newHTTPClient(plain bool, limits Limits, roots *x509.CertPool) *http.Client {
	base := &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: limits.Idle}).DialContext,
		TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    limits.Idle,
		ForceAttemptHTTP2:      true,
		MaxIdleConnsPerHost:    4,
		IdleConnTimeout:        limits.Idle,
		MaxResponseHeaderBytes: 64 << 10,
		DisableCompression:     true, // digests are over what is sent
	}
	return &http.Client{
		Transport:     &guard{base: base, plain: plain, idle: limits.Idle},
		CheckRedirect: func(req *http.Request, via []*http.Request) error { return checkRedirect(req, via, limits.Redirects) },
	}
}

// checkRedirect lets a registry hand a download to another host (object stores
// do), and nothing else. Authorization is dropped by the auth client as soon as
// a chain leaves the origin; cookies and bodies are never sent.
func checkRedirect(req *http.Request, via []*http.Request, most int) error {
	first, last := via[0], via[len(via)-1]
	refuse := func(why string) error {
		return fmt.Errorf("%w: %s to %s: %s", ErrRedirect, last.URL.Redacted(), req.URL.Redacted(), why)
	}
	switch {
	case len(via) > most:
		return refuse(fmt.Sprintf("it is number %d", len(via)))
	case req.Method != http.MethodGet && req.Method != http.MethodHead:
		return refuse("only reading is redirected")
	case req.URL.Scheme != "https" && req.URL.Scheme != "http":
		return refuse("unknown scheme")
	case last.URL.Scheme == "https" && req.URL.Scheme != "https":
		return refuse("it leaves https")
	case req.URL.User != nil:
		return refuse("it carries credentials")
	case inside(req.URL.Host) && !inside(first.URL.Host):
		return refuse("it leads from outside to this machine or its link")
	}
	for _, v := range via {
		if v.URL.String() == req.URL.String() {
			return refuse("it goes round")
		}
	}
	return nil
}

// inside reports whether a host is this machine or only on its link, where
// cloud metadata services live. Names are not resolved: a blob reached through
// one still has to match its digest.
func inside(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return loopback(host) || ip != nil && (ip.IsLinkLocalUnicast() || ip.IsUnspecified())
}

// guard is the transport below everything.
type guard struct {
	base  http.RoundTripper
	plain bool
	idle  time.Duration
}

func (g *guard) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme != "https" && !g.plain && !loopback(req.URL.Host) {
		return nil, fmt.Errorf("%w: %s; use https, or --plain-http if the network is trusted", ErrPlainHTTP, req.URL.Redacted())
	}
	ctx, cancel := context.WithCancelCause(req.Context())
	host := req.URL.Host
	w := newWatch(g.idle, func() {
		cancel(fmt.Errorf("%w: nothing came from %s for %v", ErrStalled, host, g.idle))
	})
	req = req.WithContext(ctx)
	if req.Body != nil && req.Body != http.NoBody {
		req.Body = &watched{ReadCloser: req.Body, watch: w, kick: true}
	}
	resp, err := g.base.RoundTrip(req)
	w.stop()
	if err != nil {
		err = network(ctx, req, err)
		cancel(nil)
		return nil, err
	}
	resp.Body = &watched{
		ReadCloser: resp.Body, watch: w,
		fail: func(err error) error { return network(ctx, req, err) },
		end:  func() { cancel(nil) },
	}
	return resp, nil
}

// network names an error of the transport.
func network(ctx context.Context, req *http.Request, err error) error {
	if cause := context.Cause(ctx); errors.Is(cause, ErrStalled) {
		return cause
	}
	if e := req.Context().Err(); e != nil && errors.Is(context.Cause(ctx), context.Canceled) {
		return context.Cause(ctx)
	}
	switch {
	case errors.Is(err, ErrUnusable), errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil:
		return err
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		return fmt.Errorf("%w: %s: %w", ErrTruncated, req.URL.Host, err)
	}
	return fmt.Errorf("%w: %s: %w", ErrUnreachable, req.URL.Host, err)
}

// watch calls fire when nobody moved it for a time. It runs only between start
// and stop, so that a reader who pauses is not taken for a registry that does.
type watch struct {
	mu    sync.Mutex
	timer *time.Timer
	idle  time.Duration
}

func newWatch(idle time.Duration, fire func()) *watch {
	return &watch{timer: time.AfterFunc(idle, fire), idle: idle}
}

func (w *watch) start() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer.Reset(w.idle)
}

func (w *watch) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer.Stop()
}

// watched is a body that moves the watch. A request's body only kicks it: the
// wait for the answer goes on after the last byte. A response's body runs it
// while a Read is under way.
type watched struct {
	io.ReadCloser
	watch *watch
	kick  bool
	fail  func(error) error
	end   func()
}

func (b *watched) Read(p []byte) (int, error) {
	b.watch.start()
	n, err := b.ReadCloser.Read(p)
	if b.kick {
		b.watch.start()
		return n, err
	}
	b.watch.stop()
	if err != nil && err != io.EOF {
		err = b.fail(err)
	}
	return n, err
}

func (b *watched) Close() error {
	err := b.ReadCloser.Close()
	if b.end != nil {
		b.watch.stop()
		b.end()
	}
	return err
}

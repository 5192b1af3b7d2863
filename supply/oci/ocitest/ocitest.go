// Package ocitest starts a real registry for tests. It will not fetch or build
// one: the Makefile does.
package ocitest

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// Registry starts the reference registry (bin is its program) on this machine,
// gives its host, and stops it with the test.
func Registry(t testing.TB, bin string) string {
	t.Helper()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	host := free.Addr().String()
	free.Close()
	config := filepath.Join(t.TempDir(), "config.yml")
	text := fmt.Sprintf("version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\nstorage:\n  filesystem: {rootdirectory: %s}\nhttp: {addr: %q}\n", t.TempDir(), host)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c := exec.Command(bin, "serve", config)
	c.Env = []string{"HOME=" + t.TempDir(), "OTEL_TRACES_EXPORTER=none"}
	var log bytes.Buffer
	c.Stdout, c.Stderr = &log, &log
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Process.Kill()
		c.Wait()
	})
	for range 200 {
		if conn, err := net.Dial("tcp", host); err == nil {
			conn.Close()
			return host
		}
		time.Sleep(25 * time.Millisecond)
	}
	c.Process.Kill()
	c.Wait()
	t.Fatalf("the registry does not come up:\n%s", log.String())
	return ""
}

package provenance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// ErrGit is a repository that git cannot read, or git missing.
var ErrGit = errors.New("git cannot read the repository")

// maxChanged bounds how many changed files of a working tree are named.
const maxChanged = 16

// Repository is what git says of a working tree.
type Repository struct {
	URI     string   // git+https://… of the remote "origin", without credentials; "" without one
	Commit  string   // HEAD, hex
	Dirty   int      // files that differ from Commit, untracked ones included
	Changed []string // the first of them
}

// isRepository reports whether dir is the top of a working tree or a bare
// repository.
func isRepository(dir string) bool {
	if _, err := os.Lstat(filepath.Join(dir, ".git")); err == nil {
		return true
	}
	for _, name := range []string{"HEAD", "objects", "refs"} {
		if _, err := os.Lstat(filepath.Join(dir, name)); err != nil {
			return false
		}
	}
	return true
}

// git runs one read-only command. The switches and the environment keep the
// repository's own configuration from starting programs and from reaching the
// network.
func git(ctx context.Context, dir string, args ...string) ([]byte, error) {
	args = append([]string{"-C", dir, "-c", "core.fsmonitor=false", "-c", "core.hooksPath=" + os.DevNull, "-c", "protocol.allow=never",
		"--no-optional-locks"}, args...)
	c := exec.CommandContext(ctx, "git", args...)
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "GIT_") {
			c.Env = append(c.Env, kv)
		}
	}
	c.Env = append(c.Env, "GIT_NO_LAZY_FETCH=1", "GIT_TERMINAL_PROMPT=0", "LC_ALL=C")
	var said bytes.Buffer
	c.Stderr = &said
	out, err := c.Output()
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.Is(err, exec.ErrNotFound):
		return nil, fmt.Errorf("%w: the program git is not installed; name the code as URI@COMMIT instead", ErrGit)
	case err != nil:
		return nil, fmt.Errorf("%w: %s: %w: %.300s", ErrGit, dir, err, strings.TrimSpace(said.String()))
	}
	return out, nil
}

// ReadRepository asks git about the working tree at dir.
func ReadRepository(ctx context.Context, dir string) (*Repository, error) {
	out, err := git(ctx, dir, "rev-parse", "--verify", "HEAD^{commit}")
	if err != nil {
		return nil, err
	}
	r := &Repository{Commit: strings.TrimSpace(string(out))}
	if err := checkDigest("gitCommit", r.Commit); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrGit, dir, err)
	}
	if out, err = git(ctx, dir, "status", "--porcelain=v1", "-z", "--untracked-files=all", "--ignore-submodules=none"); err != nil {
		return nil, err
	}
	r.changes(out)
	// No remote is no error: git config then exits with 1.
	if out, err = git(ctx, dir, "config", "--get", "remote.origin.url"); err == nil {
		r.URI = remoteURI(strings.TrimSpace(string(out)))
	} else if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return r, nil
}

// changes reads "XY PATH NUL", where renames and copies add "OLD NUL".
func (r *Repository) changes(out []byte) {
	fields := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
	for i := 0; i < len(fields); i++ {
		f := fields[i]
		if len(f) < 4 {
			continue
		}
		r.Dirty++
		if len(r.Changed) < maxChanged {
			r.Changed = append(r.Changed, strings.ToValidUTF8(f[3:], "\uFFFD"))
		}
		if strings.ContainsAny(f[:2], "RC") {
			i++
		}
	}
}

var scpLike = regexp.MustCompile(`^(?:[^@/:]+@)?([A-Za-z0-9.-]+):([^/].*)$`)

// remoteURI writes a remote as SLSA does, and leaves out credentials, and
// remotes that are paths of this machine.
func remoteURI(remote string) string {
	if m := scpLike.FindStringSubmatch(remote); m != nil && !strings.Contains(remote, "://") {
		remote = "ssh://" + m[1] + "/" + m[2]
	}
	u, err := url.Parse(remote)
	if err != nil || u.Host == "" || u.Scheme == "file" {
		return ""
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return "git+" + u.String()
}

// hasCommit reports whether the repository at dir holds the commit: its id
// binds all that is in it.
func hasCommit(ctx context.Context, dir, commit string) (bool, error) {
	if err := checkDigest("gitCommit", commit); err != nil {
		return false, nil
	}
	if _, err := git(ctx, dir, "rev-parse", "--git-dir"); err != nil {
		return false, err
	}
	_, err := git(ctx, dir, "cat-file", "-e", commit+"^{commit}")
	if errors.Is(err, ErrGit) {
		return false, nil
	}
	return err == nil, err
}

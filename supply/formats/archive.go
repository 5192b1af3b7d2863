package formats

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/weighbridge/weighbridge/supply/formats/pickle"
)

// Bounds of unpacking.
const (
	maxEntries   = 1 << 16
	maxDirectory = 32 << 20 // bytes of a ZIP's directory
	maxMember    = 32 << 20 // bytes that are unpacked of one member
	maxUnpacked  = 256 << 20
	maxRatio     = 1000 // deflate itself ends near 1,032
	bombFloor    = 64 << 20
)

// endOfZip finds the end record of a ZIP archive that reaches to the end of the
// file, and the size of its directory.
func (s *source) endOfZip() (directory int64, entries int64, found bool, err error) {
	n := min(s.size, 22+1<<16)
	tail, err := s.read(s.size-n, n)
	if err != nil {
		return 0, 0, false, err
	}
	for i := len(tail) - 22; i >= 0; i-- {
		if string(tail[i:i+4]) != "PK\x05\x06" || int(binary.LittleEndian.Uint16(tail[i+20:]))+i+22 > len(tail) {
			continue
		}
		entries, directory = int64(binary.LittleEndian.Uint16(tail[i+10:])), int64(binary.LittleEndian.Uint32(tail[i+12:]))
		if i >= 20 && string(tail[i-20:i-16]) == "PK\x06\x07" { // ZIP64: the true numbers lie elsewhere
			at := int64(binary.LittleEndian.Uint64(tail[i-12:]))
			if at < 0 || at > s.size-56 {
				return directory, entries, true, nil
			}
			rec, err := s.read(at, 56)
			if err != nil {
				return 0, 0, false, err
			}
			if string(rec[:4]) == "PK\x06\x06" {
				entries = int64(binary.LittleEndian.Uint64(rec[32:]) & (1<<62 - 1))
				directory = int64(binary.LittleEndian.Uint64(rec[40:]) & (1<<62 - 1))
			}
		}
		return directory, entries, true, nil
	}
	return 0, 0, false, nil
}

// endsAsZip reports whether a ZIP reader would take the file: those read from
// its end.
func (s *source) endsAsZip() (bool, error) {
	if s.size < 22 {
		return false, nil
	}
	directory, entries, found, err := s.endOfZip()
	if err != nil || !found {
		return false, err
	}
	if directory > maxDirectory || entries > maxEntries {
		return true, nil
	}
	z, err := zip.NewReader(s.r, s.size)
	return err == nil && len(z.File) > 0, nil
}

// zip classifies an archive by its members.
func (s *source) zip() (File, error) {
	directory, entries, found, err := s.endOfZip()
	switch {
	case err != nil:
		return File{}, err
	case found && (directory > maxDirectory || entries > maxEntries):
		return s.bad(RuleBomb, "zip", "its directory claims %d members in %d bytes", entries, directory), nil
	}
	z, err := zip.NewReader(s.r, s.size)
	if err != nil {
		f := s.bad(RuleMalformed, "zip", "begins as a ZIP archive and is none: %v", err)
		f.Executable = pickled[ext(s.name)] // torch falls back to unpickling
		return f, nil
	}
	if why := bomb(z, s.size); why != "" {
		return s.bad(RuleBomb, "zip", "%s", why), nil
	}
	u := unpacker{left: maxUnpacked}
	for _, m := range z.File {
		if err := u.member(m); err != nil {
			return File{}, err
		}
	}
	return u.judge(s, z), nil
}

// bomb compares what an archive claims to hold with what it can.
func bomb(z *zip.Reader, size int64) string {
	var total, packed uint64
	type extent struct{ from, to int64 }
	var all []extent
	for _, m := range z.File {
		if m.UncompressedSize64 > bombFloor && m.UncompressedSize64/maxRatio > m.CompressedSize64 {
			return fmt.Sprintf("member %.100q claims to unpack %d bytes to %d", m.Name, m.CompressedSize64, m.UncompressedSize64)
		}
		if m.UncompressedSize64 > 1<<62 || m.CompressedSize64 > uint64(size) {
			return fmt.Sprintf("member %.100q claims %d bytes", m.Name, m.UncompressedSize64)
		}
		if total += m.UncompressedSize64; total > 1<<62 {
			return "its members claim more bytes than can be counted"
		}
		packed += m.CompressedSize64
		if at, err := m.DataOffset(); err == nil && m.CompressedSize64 > 0 {
			all = append(all, extent{at, at + int64(m.CompressedSize64)})
		}
	}
	slices.SortFunc(all, func(a, b extent) int { return int(min(max(a.from-b.from, -1), 1)) })
	for i := 1; i < len(all); i++ {
		if all[i].from < all[i-1].to {
			return "members share the same bytes"
		}
	}
	if total > bombFloor && total/maxRatio > uint64(size) {
		return fmt.Sprintf("%d bytes claim to unpack to %d", size, total)
	}
	return ""
}

// unpacker looks into the members of one archive.
type unpacker struct {
	left     int64    // bytes that may still be unpacked
	findings []string // why it is executable
	opcodes  []string
	arrays   int // members that are NumPy arrays without objects
	files    int
	script   bool // TorchScript
	torch    bool
	keras    bool
	bombed   string
}

func (u *unpacker) member(m *zip.File) error {
	if strings.HasSuffix(m.Name, "/") {
		return nil
	}
	u.files++
	name := path.Base(m.Name)
	switch dir := path.Base(path.Dir(m.Name)); {
	case name == "data.pkl" || name == "constants.pkl":
		u.torch = true
		u.script = u.script || name == "constants.pkl"
	case dir == "code" || strings.Contains(m.Name, "/code/"):
		u.script = true
	case m.Name == "config.json" || m.Name == "model.weights.h5":
		u.keras = true
	}
	if what := programs[ext(name)]; what != "" || sharedObject.MatchString(strings.ToLower(name)) {
		if what == "" {
			what = "a shared object"
		}
		u.findings = append(u.findings, fmt.Sprintf("%.100q is %s", m.Name, what))
	}
	src, err := u.unpack(m)
	if err != nil || len(src) == 0 {
		return err
	}
	s := &source{name: m.Name, r: bytes.NewReader(src), size: int64(len(src)), head: src[:min(len(src), headBytes)]}
	if s.starts("\x93NUMPY") {
		f, err := s.npy()
		if err == nil && f.Rule == "" {
			u.arrays++
			return nil
		}
		u.add(m, f)
		return err
	}
	if m.Name == "config.json" {
		u.opcodes = append(u.opcodes, kerasCode(src)...)
	}
	if what := s.program(); what != "" {
		u.findings = append(u.findings, fmt.Sprintf("%.100q is %s", m.Name, what))
		return nil
	}
	f, err := s.pickle()
	if err == nil && f.Rule != "" {
		u.add(m, f)
	}
	return err
}

func (u *unpacker) add(m *zip.File, f File) {
	u.findings = append(u.findings, fmt.Sprintf("%.100q is %s", m.Name, f.Detail))
	for _, o := range f.Opcodes {
		if len(u.opcodes) < pickle.MaxOps {
			u.opcodes = append(u.opcodes, readableName(m.Name)+": "+o)
		}
	}
}

func readableName(name string) string {
	if len(name) > 100 {
		name = name[:100]
	}
	return strings.Trim(strconv.QuoteToASCII(name), `"`)
}

// unpack gives the first bytes of a member: all of it where it may be a pickle,
// else enough to recognise it.
func (u *unpacker) unpack(m *zip.File) ([]byte, error) {
	if m.Flags&1 != 0 {
		u.findings = append(u.findings, fmt.Sprintf("%.100q is encrypted", m.Name))
		return nil, nil
	}
	r, err := m.Open()
	if err != nil {
		u.findings = append(u.findings, fmt.Sprintf("%.100q cannot be unpacked: %v", m.Name, err))
		return nil, nil
	}
	defer r.Close()
	head, err := io.ReadAll(io.LimitReader(r, min(4096, u.left)))
	u.left -= int64(len(head))
	if err == nil && (len(head) > 0 && (head[0] == 0x80 || !bytes.ContainsRune(head, 0)) || strings.HasPrefix(string(head), "\x93NUMPY") || m.Name == "config.json") {
		rest, more := io.ReadAll(io.LimitReader(r, min(maxMember, u.left)))
		u.left -= int64(len(rest))
		head, err = append(head, rest...), more
	}
	if u.left <= 0 {
		u.bombed = fmt.Sprintf("more than %d bytes to unpack", int64(maxUnpacked))
	}
	if err != nil {
		u.findings = append(u.findings, fmt.Sprintf("%.100q cannot be unpacked: %v", m.Name, err))
		return head, nil
	}
	return head, nil
}

func (u *unpacker) judge(s *source, z *zip.Reader) File {
	format, what := "zip", ""
	switch {
	case u.script:
		format, what = "torchscript", "a TorchScript archive, which is code"
	case u.torch:
		format, what = "pytorch", "a PyTorch checkpoint"
	case u.keras:
		format, what = "keras", "a Keras archive, whose configuration names the classes that are imported"
	case pickled[ext(s.name)] || ext(s.name) == ".bin":
		format, what = "pytorch", "by its name a PyTorch archive"
	case programs[ext(s.name)] != "":
		what = programs[ext(s.name)]
	}
	if len(u.findings) > 0 || what != "" {
		text := what
		if n := len(u.findings); n > 0 {
			if text == "" {
				text = "a ZIP archive"
			}
			text += ": " + strings.Join(u.findings[:min(n, 3)], "; ")
			if n > 3 {
				text += fmt.Sprintf("; and %d more", n-3)
			}
		}
		f := s.bad(RuleExecutable, format, "%s", text)
		f.Opcodes = u.opcodes
		return f
	}
	if u.bombed != "" {
		return s.bad(RuleBomb, format, "%s", u.bombed)
	}
	if u.files > 0 && u.arrays == u.files {
		if first, err := z.File[0].DataOffset(); err == nil && first < 1<<16 && s.starts("PK\x03\x04") {
			return s.is("npz", "%d NumPy arrays", u.arrays)
		}
	}
	return s.bad(RuleArchive, "zip", "a ZIP archive of %d files; unpack it so that they can be looked at", u.files)
}

// isTar checks the header's sum, for "ustar" is missing from the oldest.
func (s *source) isTar() bool {
	if len(s.head) < 512 {
		return false
	}
	h := s.head[:512]
	field := strings.Trim(string(h[148:156]), " \x00")
	want, err := strconv.ParseInt(field, 8, 64)
	if err != nil || want == 0 {
		return false
	}
	sum := int64(8 * ' ')
	for i, b := range h {
		if i < 148 || i >= 156 {
			sum += int64(b)
		}
	}
	return sum == want
}

// tar looks at the members without unpacking them: torch's files before 0.1.10
// were tar archives of pickles, and NeMo's still are.
func (s *source) tar() (File, error) {
	t := tar.NewReader(io.NewSectionReader(s.r, 0, s.size))
	var names, findings []string
	for range maxEntries {
		h, err := t.Next()
		if err != nil { // the end, or a fault of reading that inspect sees
			break
		}
		name := path.Base(h.Name)
		names = append(names, name)
		if name == "pickle" || name == "storages" || name == "tensors" || pickled[ext(name)] || programs[ext(name)] != "" {
			findings = append(findings, fmt.Sprintf("%.100q", h.Name))
		}
	}
	if len(findings) > 0 || pickled[ext(s.name)] || ext(s.name) == ".bin" {
		return s.bad(RuleExecutable, "tar", "a tar archive with what is unpickled or run: %s", strings.Join(findings[:min(len(findings), 5)], ", ")), nil
	}
	return s.bad(RuleArchive, "tar", "a tar archive of %d files; unpack it so that they can be looked at", len(names)), nil
}

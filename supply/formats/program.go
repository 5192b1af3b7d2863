package formats

import (
	"bytes"
	"encoding/binary"
	"errors"
	"regexp"
	"strings"

	"github.com/weighbridge/weighbridge/supply/formats/pickle"
)

// program says what kind of code the content is, or "".
func (s *source) program() string {
	h := s.head
	switch {
	case s.starts("\x7fELF"):
		return "an ELF program or library"
	case s.starts("#!"), s.starts("\xef\xbb\xbf#!"):
		return "a script (it begins with #!)"
	case s.starts("MZ") && s.isPE():
		return "a Windows program or library (PE)"
	case s.starts("\xfe\xed\xfa\xce", "\xfe\xed\xfa\xcf", "\xce\xfa\xed\xfe", "\xcf\xfa\xed\xfe"):
		return "a macOS program or library (Mach-O)"
	case s.starts("\xca\xfe\xba\xbe"):
		return "a macOS universal binary or a Java class"
	case s.starts("\x00asm"):
		return "WebAssembly"
	case s.starts("dex\n"):
		return "Dalvik code"
	case s.starts("BC\xc0\xde"):
		return "LLVM bitcode"
	case s.starts("!<arch>\n"):
		return "a library archive"
	case len(h) >= 4 && h[2] == '\r' && h[3] == '\n' && h[1] <= 0x10 && h[0] != '\r' && ext(s.name) != ".txt":
		// The magic of .pyc is a number of 16 bits below 4,096 and CR LF; text
		// has no control character in second place.
		if h[1] != '\n' && h[1] != '\t' {
			return "compiled Python"
		}
	}
	if name := base(s.name); name == "saved_model.pb" || name == "keras_metadata.pb" {
		return "a TensorFlow SavedModel, whose graph reads and writes files and may call Python; convert the weights to safetensors"
	}
	return ""
}

func (s *source) isPE() bool {
	if strings.HasPrefix(string(s.head), "MZqFpD") { // Actually Portable Executable, as llamafile
		return true
	}
	if len(s.head) < 64 {
		return false
	}
	at := int64(binary.LittleEndian.Uint32(s.head[60:]))
	if at+4 > s.size {
		return false
	}
	b, err := s.read(at, 4)
	return err == nil && string(b) == "PE\x00\x00"
}

// pickle recognises pickles: by their first opcode where they name a protocol,
// otherwise by being a whole pickle that does something.
func (s *source) pickle() (File, error) {
	l, err := pickle.All(s.r, 0, s.size)
	if err != nil && !errors.Is(err, pickle.ErrMalformed) {
		return File{}, err
	}
	switch {
	case pickled[ext(s.name)] && (err == nil || len(l.Ops) > 0 || l.Protocol > 0),
		l.Protocol > 0 && (err == nil || len(l.Ops) > 0),
		err == nil && len(l.Ops) > 0 && s.named(l),
		!s.isText() && s.acts(l):
		return s.unpickled("pickle", "", l, err), nil
	case s.starts("\x80") && pickledBin(s.name):
		return s.unpickled("pickle", "", l, err), nil
	}
	return File{}, nil
}

func pickledBin(name string) bool { return ext(name) == ".bin" }

var dottedName = regexp.MustCompile(`^[A-Za-z_][\w.]*\.[A-Za-z_]\w*$`)

// named reports whether an import looks like one of Python's.
func (s *source) named(l *pickle.Listing) bool {
	for _, name := range l.Imports() {
		if dottedName.MatchString(name) || strings.Contains(name, "?") {
			return true
		}
	}
	return false
}

// acts reports whether something named is called: an unpickler would have done
// so before it came to a fault.
func (s *source) acts(l *pickle.Listing) bool {
	for _, o := range l.Ops {
		switch o.Code {
		case "REDUCE", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "BUILD":
			if dottedName.MatchString(o.Name) {
				return true
			}
		}
	}
	return false
}

// polyglot looks for a second format in a file that is one already.
func (s *source) polyglot(format string) (File, error) {
	if format != "zip" && format != "npz" {
		ok, err := s.endsAsZip()
		if err != nil {
			return File{}, err
		}
		if ok {
			return s.bad(RulePolyglot, format, "it is %s and a ZIP archive at its end: another loader reads another file", format), nil
		}
	}
	if format == "tar" || format == "zip" || format == "npz" {
		return File{}, nil
	}
	l, err := pickle.All(s.r, 0, s.size)
	if err != nil && !errors.Is(err, pickle.ErrMalformed) {
		return File{}, err
	}
	if s.acts(l) && (err == nil || !s.isText()) {
		f := s.bad(RulePolyglot, format, "it is %s and %s", format, describe(l, err))
		f.Opcodes, f.Executable = operations("", l), true
		return f, nil
	}
	if s.isTar() {
		return s.bad(RulePolyglot, format, "it is %s and a tar archive", format), nil
	}
	// HDF5 may begin at 512 and its doublings (HDF5 file format, section II.A).
	for at := int64(512); at+8 <= s.size; at *= 2 {
		b, err := s.read(at, 8)
		if err != nil {
			return File{}, err
		}
		if bytes.Equal(b, []byte("\x89HDF\r\n\x1a\n")) {
			return s.bad(RulePolyglot, format, "it is %s and HDF5 from byte %d on", format, at), nil
		}
	}
	return File{}, nil
}

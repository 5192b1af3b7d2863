package gguf

import "math"

// Metadata is the key-value section in file order, without duplicate keys.
// The typed getters return ok == false when the key is absent or holds another
// type; use Get to tell the two apart.
type Metadata struct {
	entries []KV
	index   map[string]int
}

// NewMetadata indexes entries. A later duplicate of a key is unreachable; the
// reader and the writer both refuse duplicates before they get here.
func NewMetadata(entries []KV) *Metadata {
	m := &Metadata{entries: entries, index: make(map[string]int, len(entries))}
	for i, e := range entries {
		if _, dup := m.index[e.Key]; !dup {
			m.index[e.Key] = i
		}
	}
	return m
}

// Entries returns the entries in file order. The caller must not change them.
func (m *Metadata) Entries() []KV { return m.entries }

// Len returns the number of entries.
func (m *Metadata) Len() int { return len(m.entries) }

// Get returns the value of key.
func (m *Metadata) Get(key string) (Value, bool) {
	i, ok := m.index[key]
	if !ok {
		return Value{}, false
	}
	return m.entries[i].Value, true
}

func get[T any](m *Metadata, key string) (T, bool) {
	v, _ := m.Get(key)
	d, ok := v.Data.(T)
	return d, ok
}

// String returns a string value.
func (m *Metadata) String(key string) (string, bool) { return get[string](m, key) }

// Strings returns an array of strings.
func (m *Metadata) Strings(key string) ([]string, bool) { return get[[]string](m, key) }

// Int32s returns an array of int32.
func (m *Metadata) Int32s(key string) ([]int32, bool) { return get[[]int32](m, key) }

// Float32s returns an array of float32.
func (m *Metadata) Float32s(key string) ([]float32, bool) { return get[[]float32](m, key) }

// Bool returns a bool value.
func (m *Metadata) Bool(key string) (bool, bool) { return get[bool](m, key) }

// Float returns a float32 or float64 value.
func (m *Metadata) Float(key string) (float64, bool) {
	v, _ := m.Get(key)
	switch d := v.Data.(type) {
	case float32:
		return float64(d), true
	case float64:
		return d, true
	}
	return 0, false
}

// Uint returns an integer value of any width that is not negative.
func (m *Metadata) Uint(key string) (uint64, bool) {
	v, _ := m.Get(key)
	switch d := v.Data.(type) {
	case uint8:
		return uint64(d), true
	case uint16:
		return uint64(d), true
	case uint32:
		return uint64(d), true
	case uint64:
		return d, true
	case int8:
		return uint64(d), d >= 0
	case int16:
		return uint64(d), d >= 0
	case int32:
		return uint64(d), d >= 0
	case int64:
		return uint64(d), d >= 0
	}
	return 0, false
}

// Int returns an integer value of any width that fits in an int64.
func (m *Metadata) Int(key string) (int64, bool) {
	v, _ := m.Get(key)
	switch d := v.Data.(type) {
	case int8:
		return int64(d), true
	case int16:
		return int64(d), true
	case int32:
		return int64(d), true
	case int64:
		return d, true
	}
	u, ok := m.Uint(key)
	return int64(u), ok && u <= math.MaxInt64
}

package decide

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/weighbridge/weighbridge/record"
)

// The types that expressions see are made from the structs of package record
// by reflection, so that a field added there is there for policies too.
//
// CEL's own support for Go structs reads an unset field as its zero, by which
// `critical == 0` holds where nothing was counted. Here a field that says
// nothing is absent: has() is false for it and reading it is an error.

// objectType is a struct as expressions see it.
type objectType struct {
	name   string // in messages and in the types of CEL
	cel    *cel.Type
	fields map[string]*field
	names  []string // of fields, in the order of the struct
}

// field reads one field. read gives no value where the field is absent.
type field struct {
	name  string
	index int // among the fields of its type
	cel   *cel.Type
	read  func(v reflect.Value) (ref.Val, bool)
	typed *types.FieldType
	// words are the only values of a text from a closed list.
	words []string
}

// object is a value of an objectType. It belongs to one decision.
type object struct {
	of *objectType
	v  reflect.Value // of the struct
	// read holds the fields that were read before, in the slots that the policy
	// gives them: rules ask for the same ones again and again.
	slots *slots
	read  []ref.Val
}

// slots says where the values of fields are kept: for each field of a type its
// slot, from 1, or 0 for none.
type slots struct {
	of []uint8
	n  int
}

func (o *object) get(f *field) (ref.Val, bool) {
	slot := 0
	if o.slots != nil {
		slot = int(o.slots.of[f.index])
	}
	if slot > 0 && o.read[slot-1] != nil {
		return o.read[slot-1], true
	}
	v, ok := f.read(o.v)
	if ok && slot > 0 {
		o.read[slot-1] = v
	}
	return v, ok
}

// types of the inputs, in order of definition: a struct before those that hold it.
var (
	inputTypes = map[string]*objectType{}

	exchangeType = define("Exchange", record.Exchange{})
	findingType  = define("Finding", record.Finding{})
	probeType    = define("Probe", record.ProbeRun{})
	problemType  = define("Problem", record.Problem{})
	evidenceType = define("Evidence", record.Evidence{})
	linkType     = define("Link", record.Link{})
	artifactType = define("Artifact", record.Artifact{})
	checkType    = define("Check", record.Check{})
	boxType      = define("Box", record.Box{})
	runType      = define("Run", record.Meta{})
	setType      = defineSet()
)

// closedWords are the fields whose values come from a closed list: a literal
// that is compared with one of them and is not on it can never match.
var closedWords = map[string][]string{
	"Finding.tier":   {string(record.Proven), string(record.Divergent), string(record.Consistent), string(record.NotTested)},
	"Finding.class":  words(record.Backdoor, record.Leak, record.Regression, record.Broken, record.Tampered, record.Behaviour, record.Relation, record.Control),
	"Probe.status":   {"ran", "not-tested"},
	"Evidence.kind":  words(record.EvidenceKinds...),
	"Evidence.state": words(record.Valid, record.Bad, record.Ambiguous, record.Absent, record.NotAsked),
	"Link.state":     words(record.Valid, record.Bad, record.Ambiguous, record.Absent, record.NotAsked),
	"Link.role":      {"base-model", "dataset", "code", "environment", "recipe", "builder"},
	"Artifact.side":  {"baseline", "candidate"},
	"Artifact.role":  {"model", "adapter"},
	"Box.side":       {"baseline", "candidate"},
	"Run.relation":   {"same-bits", "requantised", "derived", "unrelated"},
	"Run.level":      {"quick", "standard", "deep", "custom"},
}

func words[T ~string](ts ...T) []string {
	var s []string
	for _, t := range ts {
		s = append(s, string(t))
	}
	return s
}

// renamed are the fields whose JSON name is a word of CEL.
var renamed = map[string]string{"null": "null_source"}

// define makes the type of a struct from its JSON names.
func define(name string, of any) *objectType {
	t := &objectType{name: name, cel: cel.ObjectType("weighbridge." + name), fields: map[string]*field{}}
	g := reflect.TypeOf(of)
	for i := range g.NumField() {
		name, options, _ := strings.Cut(g.Field(i).Tag.Get("json"), ",")
		if to, ok := renamed[name]; ok {
			name = to
		}
		f := reader(g.Field(i).Type, strings.Contains(options, "omitempty"))
		read := f.read
		f.read = func(v reflect.Value) (ref.Val, bool) { return read(v.Field(i)) }
		f.name = name
		t.add(f)
	}
	inputTypes[t.cel.TypeName()], byGoType[g] = t, t
	return t
}

func (t *objectType) add(f *field) {
	f.index = len(t.names)
	f.words = closedWords[t.name+"."+f.name]
	f.typed = &types.FieldType{Type: f.cel, IsSet: func(target any) bool {
		o, ok := target.(*object)
		if !ok {
			return false
		}
		_, ok = o.get(f)
		return ok
	}, GetFrom: func(target any) (any, error) {
		o, ok := target.(*object)
		if !ok {
			return nil, fmt.Errorf("%T has no field %s", target, f.name)
		}
		v, ok := o.get(f)
		if !ok {
			return nil, &AbsentError{t.name, f.name}
		}
		return v, nil
	}}
	t.fields[f.name] = f
	t.names = append(t.names, f.name)
}

// AbsentError is a field that was read and says nothing.
type AbsentError struct{ Type, Field string }

func (e *AbsentError) Error() string {
	return fmt.Sprintf("the field %q of %s is absent (ask has() first)", e.Field, e.Type)
}

// reader reads a field of Go type g. omit is whether its zero says nothing.
func reader(g reflect.Type, omit bool) *field {
	switch g.Kind() {
	case reflect.String:
		return &field{cel: cel.StringType, read: func(v reflect.Value) (ref.Val, bool) {
			s := v.String()
			return types.String(valid(s)), s != ""
		}}
	case reflect.Bool:
		return &field{cel: cel.BoolType, read: func(v reflect.Value) (ref.Val, bool) { return types.Bool(v.Bool()), true }}
	case reflect.Int, reflect.Int64:
		return &field{cel: cel.IntType, read: func(v reflect.Value) (ref.Val, bool) { return types.Int(v.Int()), !omit || v.Int() != 0 }}
	case reflect.Uint64:
		return &field{cel: cel.UintType, read: func(v reflect.Value) (ref.Val, bool) { return types.Uint(v.Uint()), true }}
	case reflect.Float64:
		// A figure that is not a number would make every comparison false.
		return &field{cel: cel.DoubleType, read: func(v reflect.Value) (ref.Val, bool) {
			return types.Double(v.Float()), !math.IsNaN(v.Float())
		}}
	case reflect.Pointer:
		f := reader(g.Elem(), false)
		read := f.read
		f.read = func(v reflect.Value) (ref.Val, bool) {
			if v.IsNil() {
				return nil, false
			}
			return read(v.Elem())
		}
		return f
	case reflect.Slice:
		return listReader(g.Elem())
	}
	panic(fmt.Sprintf("decide: a field of type %v", g)) // found by the first test that runs
}

func listReader(elem reflect.Type) *field {
	if elem.Kind() == reflect.String {
		return &field{cel: cel.ListType(cel.StringType), read: func(v reflect.Value) (ref.Val, bool) {
			list := make([]string, v.Len())
			for i := range list {
				list[i] = valid(v.Index(i).String())
			}
			return types.NewStringList(provider{}, list), len(list) > 0
		}}
	}
	t := byGoType[elem]
	if t == nil {
		panic(fmt.Sprintf("decide: a list of %v", elem))
	}
	return &field{cel: cel.ListType(t.cel), read: func(v reflect.Value) (ref.Val, bool) { return t.list(v), v.Len() > 0 }}
}

// byGoType are the types that lists may hold: defined before those that hold them.
var byGoType = map[reflect.Type]*objectType{}

// objects are the elements of a slice of structs.
func (t *objectType) objects(v reflect.Value, s *slots) []ref.Val {
	all := make([]object, v.Len())
	list := make([]ref.Val, len(all))
	var read []ref.Val
	if s != nil {
		read = make([]ref.Val, s.n*len(all))
	}
	for i := range all {
		all[i] = object{of: t, v: v.Index(i), slots: s}
		if s != nil {
			all[i].read = read[i*s.n : (i+1)*s.n]
		}
		list[i] = &all[i]
	}
	return list
}

func (t *objectType) list(v reflect.Value) ref.Val {
	return types.NewRefValList(provider{}, t.objects(v, nil))
}

// evidenceSet is the variable `evidence`: what was found, by kind, and all of
// it as a list.
type evidenceSet struct {
	all    []ref.Val
	byKind map[record.EvidenceKind]ref.Val
	twice  map[record.EvidenceKind]bool
}

func newEvidenceSet(run *record.Run, s *slots) *object {
	set := &evidenceSet{all: evidenceType.objects(reflect.ValueOf(run.Evidence), s), byKind: make(map[record.EvidenceKind]ref.Val, len(run.Evidence))}
	for i, e := range run.Evidence {
		if set.byKind[e.Kind] != nil {
			if set.twice == nil {
				set.twice = map[record.EvidenceKind]bool{}
			}
			set.twice[e.Kind] = true
		}
		set.byKind[e.Kind] = set.all[i]
	}
	return &object{of: setType, v: reflect.ValueOf(set).Elem()}
}

// defineSet makes the type of evidenceSet. A kind of which there are two says
// nothing that could be relied on: it is absent.
func defineSet() *objectType {
	t := &objectType{name: "evidence", cel: cel.ObjectType("weighbridge.EvidenceSet"), fields: map[string]*field{}}
	set := func(v reflect.Value) *evidenceSet { return v.Addr().Interface().(*evidenceSet) }
	for _, kind := range record.EvidenceKinds {
		t.add(&field{name: string(kind), cel: evidenceType.cel, read: func(v reflect.Value) (ref.Val, bool) {
			s := set(v)
			e, ok := s.byKind[kind]
			return e, ok && !s.twice[kind]
		}})
	}
	t.add(&field{name: "list", cel: cel.ListType(evidenceType.cel), read: func(v reflect.Value) (ref.Val, bool) {
		return types.NewRefValList(provider{}, set(v).all), true
	}})
	inputTypes[t.cel.TypeName()] = t
	return t
}

// valid is s as a report stores it, so that a decision made again from the
// report sees the same text.
func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// ConvertToNative implements ref.Val: an object stays inside an expression.
func (o *object) ConvertToNative(t reflect.Type) (any, error) {
	return nil, fmt.Errorf("%s does not become %v", o.of.name, t)
}

// ConvertToType implements ref.Val.
func (o *object) ConvertToType(t ref.Type) ref.Val {
	if t == types.TypeType {
		return o.of.cel
	}
	return types.NewErr("%s does not become %s", o.of.name, t.TypeName())
}

// Equal implements ref.Val.
func (o *object) Equal(other ref.Val) ref.Val {
	p, ok := other.(*object)
	return types.Bool(ok && o.of == p.of && reflect.DeepEqual(o.v.Interface(), p.v.Interface()))
}

// Type implements ref.Val.
func (o *object) Type() ref.Type { return o.of.cel }

// Value implements ref.Val.
func (o *object) Value() any { return o }

// provider gives CEL the input types, and the built-in ones of its registry.
type provider struct{}

var builtin = func() *types.Registry {
	r, err := types.NewRegistry()
	if err != nil {
		panic(err) // it has nothing to fail on
	}
	return r
}()

func (provider) EnumValue(name string) ref.Val         { return builtin.EnumValue(name) }
func (provider) FindIdent(name string) (ref.Val, bool) { return builtin.FindIdent(name) }
func (provider) NativeToValue(v any) ref.Val           { return builtin.NativeToValue(v) }
func (provider) NewValue(t string, _ map[string]ref.Val) ref.Val {
	return types.NewErr("a policy makes no %s", t)
}

func (provider) FindStructType(name string) (*types.Type, bool) {
	if t, ok := inputTypes[name]; ok {
		return types.NewTypeTypeWithParam(t.cel), true
	}
	return nil, false
}

func (provider) FindStructFieldNames(name string) ([]string, bool) {
	if t, ok := inputTypes[name]; ok {
		return slices.Clone(t.names), true
	}
	return nil, false
}

func (provider) FindStructFieldType(name, f string) (*types.FieldType, bool) {
	if t, ok := inputTypes[name]; ok && t.fields[f] != nil {
		return t.fields[f].typed, true
	}
	return nil, false
}

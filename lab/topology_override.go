package lab

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/punchlab/punchlab/lab/nat"
)

// The keys of Site.Override are the fields of nat.Behavior in small letters with dashes: udp-timeout is UDPTimeout. Values are
// text: "30s", "10", "true", "443,8443", or the word that the field's type prints, such as "external-source".

// ownKeys are fields that a site says elsewhere: with its preset, and with ipv6.
var ownKeys = []string{"Kind", "IPv6", "Filtering6"}

// overrides maps keys to the indexes of their fields.
var overrides = func() map[string]int {
	m := map[string]int{}
	for _, f := range reflect.VisibleFields(reflect.TypeFor[nat.Behavior]()) {
		if !slices.Contains(ownKeys, f.Name) {
			m[dashed(f.Name)] = f.Index[0]
		}
	}
	return m
}()

// dashed turns UDPTimeout into udp-timeout: a dash goes before a capital that follows a small letter or precedes one.
func dashed(name string) string {
	var b strings.Builder
	r := []rune(name)
	for i, c := range r {
		if i > 0 && unicode.IsUpper(c) && (!unicode.IsUpper(r[i-1]) || i+1 < len(r) && unicode.IsLower(r[i+1])) {
			b.WriteByte('-')
		}
		b.WriteRune(unicode.ToLower(c))
	}
	return b.String()
}

// OverrideKeys lists the keys of Site.Override, sorted.
func OverrideKeys() []string { return slices.Sorted(maps.Keys(overrides)) }

// OverrideWords lists the words that a key takes; or nil, and what it takes instead: "a time such as 30s".
func OverrideWords(key string) (words []string, what string) {
	i, ok := overrides[key]
	if !ok {
		return nil, ""
	}
	f := reflect.TypeFor[nat.Behavior]().Field(i)
	if words = enumWords(f.Type); words != nil {
		return words, ""
	}
	return nil, noun(f.Type)
}

var durationType = reflect.TypeFor[time.Duration]()

// enumWords are what an enum's values print, from zero up; nil if the type is none.
func enumWords(t reflect.Type) (words []string) {
	if t.Kind() != reflect.Int || !t.Implements(reflect.TypeFor[fmt.Stringer]()) {
		return nil
	}
	for i := int64(0); ; i++ {
		v := reflect.New(t).Elem()
		v.SetInt(i)
		word := fmt.Sprint(v.Interface())
		if strings.HasPrefix(word, "invalid") {
			return words
		}
		words = append(words, word)
	}
}

func noun(t reflect.Type) string {
	switch {
	case t == durationType:
		return "a time such as 30s"
	case t.Kind() == reflect.Bool:
		return "true or false"
	case t.Kind() == reflect.Slice:
		return "ports such as 443,8443"
	}
	return "a whole number"
}

// override applies what a site says besides its preset.
func override(b *nat.Behavior, changes map[string]string, path string, ps *Problems) {
	for _, key := range slices.Sorted(maps.Keys(changes)) {
		where := path + "." + key
		i, ok := overrides[key]
		if !ok {
			*ps = append(*ps, Unknown(where, "behavior", key, OverrideKeys()))
			continue
		}
		v := reflect.ValueOf(b).Elem().Field(i)
		if words := enumWords(v.Type()); words != nil {
			n := slices.Index(words, changes[key])
			if n < 0 {
				*ps = append(*ps, Unknown(where, "value", changes[key], words))
				continue
			}
			v.SetInt(int64(n))
		} else if !setValue(v, changes[key]) {
			ps.add(where, fmt.Sprintf("%s is not %s", quote(changes[key]), noun(v.Type())))
		}
	}
}

// setValue parses text into a field that is no enum.
func setValue(v reflect.Value, text string) bool {
	switch {
	case v.Type() == durationType:
		d, err := time.ParseDuration(text)
		v.SetInt(int64(d))
		return err == nil && d >= 0
	case v.Kind() == reflect.Bool:
		on, err := strconv.ParseBool(text)
		v.SetBool(on)
		return err == nil
	case v.Kind() == reflect.Int:
		n, err := strconv.ParseInt(text, 10, 32)
		v.SetInt(n)
		return err == nil
	case v.Kind() == reflect.Uint16:
		n, err := strconv.ParseUint(text, 10, 16)
		v.SetUint(n)
		return err == nil
	case v.Kind() == reflect.Slice:
		return setPorts(v, text)
	}
	return false
}

func setPorts(v reflect.Value, text string) bool {
	var ports []uint16
	for _, word := range strings.Split(text, ",") {
		n, err := strconv.ParseUint(strings.TrimSpace(word), 10, 16)
		if err != nil {
			return false
		}
		ports = append(ports, uint16(n))
	}
	v.Set(reflect.ValueOf(ports))
	return true
}

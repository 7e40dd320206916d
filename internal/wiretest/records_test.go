package wiretest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/stretchr/testify/require"
)

// shownFields lists, for each type of record, the text fields that may be printed. Every other text
// field must print as "[redacted]".
var shownFields = map[string][]string{
	"AccessKey":          {"ID", "UserID", "Label"},
	"Authority":          {"Host", "SessionID", "UserID"},
	"ClientInfo":         {"UserAgent", "RequestID"},
	"Event":              {"ID", "Kind", "UserID", "ActorID", "Host", "SessionID", "AccessKey", "Method", "Reason"},
	"GitHubAccount":      {"Host"},
	"GitHubConnectWrite": {"TokenVersion"},
	"GitHubLink":         {"UserID", "Login", "Name", "AvatarURL"},
	"GitHubSignInWrite":  {"Email", "TokenVersion"},
	"GitHubToken":        {"UserID", "Version", "Scopes"},
	"Revocation":         {"ID", "UserID", "SessionID"},
	"Session":            {"ID", "UserID", "Method", "AccessKeyID", "UserAgent", "Address"},
	"SessionClaims":      {"UserID", "SessionID"},
	"User":               {"ID", "Username", "Email"},
}

// recordTypes returns the struct types that the methods of a store take and return, including
// nested struct types.
func recordTypes() map[string]reflect.Type {
	found := map[string]reflect.Type{}
	var look func(reflect.Type)
	look = func(t reflect.Type) {
		switch t.Kind() {
		case reflect.Pointer, reflect.Slice:
			look(t.Elem())
		case reflect.Struct:
			if t.PkgPath() != reflect.TypeFor[auth.User]().PkgPath() || found[t.Name()] != nil {
				return
			}
			if t != reflect.TypeFor[auth.Write]() { // is not stored, but contains records
				found[t.Name()] = t
			}
			for field := range t.Fields() {
				look(field.Type)
			}
		}
	}
	for method := range reflect.TypeFor[auth.Store]().Methods() {
		for i := range method.Type.NumIn() {
			look(method.Type.In(i))
		}
		for i := range method.Type.NumOut() {
			look(method.Type.Out(i))
		}
	}
	return found
}

// fill sets every text in the value to a canary, which is a text that names the field. If a canary
// must not be printed, fill also adds it to the map secret.
func fill(v reflect.Value, path string, secret map[string]bool) {
	switch v.Kind() {
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.Unix(1, 0).UTC()))
			return
		}
		for i := range v.NumField() {
			if field := v.Type().Field(i); field.IsExported() {
				fill(v.Field(i), v.Type().Name()+"."+field.Name, secret)
			}
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), path, secret)
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			v.SetBytes([]byte(canaryOf(path, secret)))
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0), path, secret)
	case reflect.String:
		v.SetString(canaryOf(path, secret))
	}
}

func canaryOf(path string, secret map[string]bool) string {
	owner, field, _ := strings.Cut(path, ".")
	text := "<" + path + ">"
	if !slices.Contains(shownFields[owner], field) {
		secret[text] = true
	}
	return text
}

// A host may log a whole record and forget that it has secret fields.
func TestRecordsPrintNoHashesOrSealedBytes(t *testing.T) {
	t.Parallel()
	types := recordTypes()
	require.Contains(t, types, "UserWithKeys")
	found := map[string]bool{}
	for name, typ := range types {
		secret := map[string]bool{}
		record := reflect.New(typ).Elem()
		fill(record, name, secret)
		maps.Copy(found, secret)
		list := reflect.MakeSlice(reflect.SliceOf(typ), 1, 1)
		list.Index(0).Set(record)

		var out bytes.Buffer
		values := []any{
			record.Interface(), record.Addr().Interface(), list.Interface(),
			struct{ Field any }{record.Interface()},
		}
		for _, v := range values {
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%10.3v"} {
				fmt.Fprintf(&out, verb+"\n", v)
			}
			fmt.Fprintln(&out, v)
			slog.New(slog.NewTextHandler(&out, nil)).Info("x", "v", v)
		}
		if _, logs := values[0].(slog.LogValuer); logs || len(secret) == 0 {
			slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "v", values[0])
			slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "v", values[1])
			slog.New(slog.NewJSONHandler(&out, nil)).Info("x", slog.Group("g", "v", values[0]))
		} else {
			require.Contains(t, []string{"UserWithKeys", "GitHubSignInWrite", "GitHubConnectWrite"},
				name, "the record needs a LogValue")
		}
		for text := range secret {
			for _, spelling := range hexes([]byte(text)) {
				require.NotContains(t, out.String(), spelling, name)
			}
			quoted, err := json.Marshal(text)
			require.NoError(t, err)
			require.NotContains(t, out.String(), strings.Trim(string(quoted), `"`), name)
		}
		for _, field := range shownFields[name] {
			require.Contains(t, out.String(), "<"+name+"."+field+">", "the other fields are printed")
		}
	}
	require.Equal(t, map[string]bool{
		"<AccessKey.Hash>": true, "<AccessKey.PreviousHash>": true, "<KeyRotation.Hash>": true,
		"<GitHubToken.Sealed>": true,
	}, found, "add a new field to shownFields if it may be printed")
	require.Equal(t,
		"{ID:k UserID: Hash:[redacted] Label: CreatedAt:0001-01-01 00:00:00 +0000 UTC "+
			"ExpiresAt:0001-01-01 00:00:00 +0000 UTC "+
			"PreviousHash: PreviousUntil:0001-01-01 00:00:00 +0000 UTC "+
			"LastUsedAt:0001-01-01 00:00:00 +0000 UTC}",
		fmt.Sprintf("%+v", auth.AccessKey{ID: "k", Hash: "h"}))
}

// A store may encode records as JSON, as examples/kvstore does.
func TestRecordsSurviveARoundTripThroughJSON(t *testing.T) {
	t.Parallel()
	for name, typ := range recordTypes() {
		record, again := reflect.New(typ), reflect.New(typ)
		fill(record.Elem(), name, map[string]bool{})
		text, err := json.Marshal(record.Interface())
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(text, again.Interface()))
		require.Equal(t, record.Interface(), again.Interface(), name)
	}
}

package wiretest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/eventkind"
	"github.com/stretchr/testify/require"
)

// shownFields lists, for each type of record, the text fields that may be printed. Every other text
// field must print as "[redacted]".
var shownFields = map[string][]string{
	"AccessKey":          {"ID", "UserID", "Label"},
	"Authority":          {"Host", "SessionID", "UserID", "Scope", "Actor"},
	"ClientInfo":         {"UserAgent", "RequestID"},
	"Event":              {"ID", "Kind", "UserID", "ActorID", "Host", "SessionID", "AccessKey", "Method", "Reason"},
	"GitHubAccount":      {"Host"},
	"GitHubConnectWrite": {"TokenVersion"},
	"GitHubLink":         {"UserID", "Login", "Name", "AvatarURL"},
	"GitHubSignInWrite":  {"Email", "TokenVersion"},
	"GitHubToken":        {"UserID", "Version", "Scopes"},
	"Revocation":         {"ID", "UserID", "SessionID"},
	"Session":            {"ID", "UserID", "Method", "AccessKeyID", "UserAgent", "Address", "Audience"},
	"SessionClaims":      {"UserID", "SessionID"},
	"SignInClient":       {"UserID", "Hash"},
	"User":               {"ID", "Username", "Email", "CreatedBy", "Audiences"},
	"UserChange":         {"Username", "Email"},
	"UserQuery":          {"After", "Kind", "State", "Search"},
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
			if t.PkgPath() != reflect.TypeFor[auth.User]().PkgPath() || found[t.Name()] != nil ||
				t == reflect.TypeFor[auth.ScopeSet]() { // is no record, but a value
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
		if v.Type() == reflect.TypeFor[*auth.ScopeSet]() {
			v.Set(reflect.ValueOf(auth.NewScopes(reading, writing)))
			return
		}
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
			"LastUsedAt:0001-01-01 00:00:00 +0000 UTC Scopes:no limit MustRotate:false "+
			"ExpiryNoticeAt:0001-01-01 00:00:00 +0000 UTC}",
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

// A struct that embeds an Event has the method MarshalJSON of the Event, which writes only the Event.
// The comment of the method says to use a field with a name. A User and an Identity have no such
// method, so a struct may embed them.
func TestAStructKeepsItsFieldsInJSON(t *testing.T) {
	t.Parallel()
	type named struct {
		Tenant string     `json:"tenant"`
		Event  auth.Event `json:"event"`
	}
	type embedded struct {
		Tenant string `json:"tenant"`
		auth.User
	}
	type embeddedIdentity struct {
		Tenant string `json:"tenant"`
		auth.Identity
	}
	for want, value := range map[string]any{
		`{"tenant":"t1","event":{"kind":"key.issued"}}`: named{"t1", auth.Event{Kind: eventkind.KeyIssued}},
		`{"tenant":"t1","user_id":"u1","username":"alice","is_super_user":false,"is_active":true}`: embedded{
			"t1", auth.User{ID: "u1", Username: "alice", IsActive: true}},
		`{"tenant":"t1","user_id":"u1","username":"alice","session_id":"s1",` +
			`"issued_at":"0001-01-01T00:00:00Z","expires_at":"0001-01-01T00:00:00Z"}`: embeddedIdentity{
			"t1", auth.Identity{UserID: "u1", Username: "alice", SessionID: "s1"}},
	} {
		text, err := json.Marshal(value)
		require.NoError(t, err)
		require.JSONEq(t, want, string(text))
	}
}

// A host sends these values to its own queues and pages. The JSON fields have the names of the HTTP
// calls, and fields without a value are left out.
func TestEventsUsersAndIdentitiesHaveTheJSONNamesOfTheHTTPCalls(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	event := auth.Event{ID: "e1", Kind: eventkind.GitHubConnected, At: at, UserID: "u1", ActorID: "u2",
		Host: "billing", SessionID: "s1", AccessKey: "ak", Method: auth.MethodGitHub,
		GitHub: auth.GitHubAccount{Host: "github.com", ID: 7}, Reason: "because",
		Client: auth.ClientInfo{Address: netip.MustParseAddr("192.0.2.1"), UserAgent: "curl", RequestID: "r1"}}
	for want, value := range map[string]any{
		`{"id":"e1","kind":"github.connected","at":"2026-01-02T03:04:05Z","user_id":"u1","actor_id":"u2",` +
			`"host":"billing","session_id":"s1","access_key":"ak","method":"github",` +
			`"github":{"host":"github.com","id":7},"reason":"because","ip":"192.0.2.1","user_agent":"curl",` +
			`"request_id":"r1"}`: event,
		`{"kind":"token.rejected"}`: auth.Event{Kind: eventkind.TokenRejected},
		`{"user_id":"u1","username":"alice","email":"a@example.com","is_super_user":true,"is_active":true,` +
			`"created_at":"2026-01-02T03:04:05Z","last_login":"2026-01-02T03:04:05Z",` +
			`"admitted_at":"2026-01-02T03:04:05Z"}`: auth.User{ID: "u1", Username: "alice",
			Email: "a@example.com", IsSuperUser: true, IsActive: true, CreatedAt: at, LastLogin: at, AdmittedAt: at},
		`{"user_id":"u1","username":"robot","is_super_user":false,"is_active":false}`: auth.User{ID: "u1",
			Username: "robot"},
		`{"user_id":"u1","username":"alice","session_id":"s1","issued_at":"2026-01-02T03:04:05Z",` +
			`"expires_at":"2026-01-02T03:04:05Z"}`: auth.Identity{UserID: "u1", Username: "alice",
			SessionID: "s1", IssuedAt: at, ExpiresAt: at},
	} {
		text, err := json.Marshal(value)
		require.NoError(t, err)
		require.Equal(t, want, string(text))
		again := reflect.New(reflect.TypeOf(value))
		require.NoError(t, json.Unmarshal(text, again.Interface()))
		require.Equal(t, value, again.Elem().Interface())
	}
	require.Error(t, json.Unmarshal([]byte(`{"ip":"nowhere"}`), new(auth.Event)))
}

// The answer of GET /auth/events has all fields. The JSON form of an event that a host has received is
// equal to this answer, except that fields without a value are left out.
func TestAnEventOfAHostHasTheFieldsOfTheAuditTrailsAnswer(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	events, err := f.svc.Events(t.Context(), auth.EventFilter{}, 10)
	require.NoError(t, err)
	listed := f.sendAs(f.signIn(f.admin), http.MethodGet, "/auth/events", "").array(t)
	require.Len(t, listed, len(events))
	for i, event := range events {
		text, err := json.Marshal(event)
		require.NoError(t, err)
		var got map[string]any
		require.NoError(t, json.Unmarshal(text, &got))
		for name, value := range listed[i] {
			if value != "" && value != nil && name != "at" { // the answer has whole seconds
				require.Equal(t, value, got[name], name)
			}
			delete(got, name)
		}
		require.Empty(t, got)
	}
}

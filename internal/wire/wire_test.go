package wire_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport-go/auth/internal/wire"
	"github.com/stretchr/testify/require"
)

// post returns a request with the body, and a ResponseWriter for its answer.
func post(body, contentType string) (http.ResponseWriter, *http.Request) {
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	return httptest.NewRecorder(), r
}

const applicationJSON = "application/json"

func requireStatus(t *testing.T, err error, status int, detail string) {
	t.Helper()
	var refused *wire.RequestError
	require.ErrorAs(t, err, &refused)
	require.Equal(t, status, refused.Status)
	require.Contains(t, refused.Detail, detail)
	require.Equal(t, "auth: "+refused.Detail, err.Error())
}

func TestFieldsOfEachKindAreRead(t *testing.T) {
	t.Parallel()
	w, r := post(`{"s":"a","e":"","yes":true,"no":false,"n":-7,"at":"2030-01-02T03:04:05+01:00","extra":null}`, applicationJSON)
	f := wire.ReadBody(w, r, "s", "e", "yes", "no", "n", "at", "none")
	require.Equal(t, "a", f.Text("s"))
	require.Equal(t, "", f.OptionalText("e"))
	require.Equal(t, "", f.OptionalText("none"))
	require.True(t, f.Flag("yes"))
	require.False(t, f.Flag("none"))
	require.Equal(t, new(false), f.OptionalFlag("no"))
	require.Nil(t, f.OptionalFlag("none"))
	require.EqualValues(t, -7, f.Number("n"))
	require.Zero(t, f.Number("none"))
	require.True(t, f.Time("at").Equal(time.Date(2030, 1, 2, 2, 4, 5, 0, time.UTC)))
	require.True(t, f.Time("none").IsZero())
	require.NoError(t, f.Err())
	require.Panics(t, func() { f.Text("extra") }, "a field that was not named")
}

func TestAFieldThatBreaksItsRuleIsNamed(t *testing.T) {
	t.Parallel()
	text := func(f *wire.Fields) { f.Text("x") }
	moment := func(f *wire.Fields) { f.Time("x") }
	for _, c := range []struct {
		body   string
		read   func(*wire.Fields)
		reason string
	}{
		{`{}`, text, "is required"},
		{`{"x":""}`, text, "must not be empty"},
		{`{"x":1}`, text, "must be a string"},
		{`{"x":{}}`, func(f *wire.Fields) { f.OptionalText("x") }, "must be a string"},
		{`{"x":"true"}`, func(f *wire.Fields) { f.Flag("x") }, "must be true or false"},
		{`{"x":0}`, func(f *wire.Fields) { f.OptionalFlag("x") }, "must be true or false"},
		{`{"x":1.5}`, func(f *wire.Fields) { f.Number("x") }, "must be an integer"},
		{`{"x":"1"}`, func(f *wire.Fields) { f.Number("x") }, "must be an integer"},
		{`{"x":1}`, moment, "must be a time such as"},
		{`{"x":"2030-01-02"}`, moment, "must be a time such as"},
		{`{"x":"2030-01-02T3:04:05Z"}`, moment, "must be a time such as"},
		{`{"x":"2030-01-02T03:04:05,5Z"}`, moment, "must be a time such as"},
		{`{"x":"2030-02-30T03:04:05Z"}`, moment, "must be a time such as"},
		{`{"x":"0001-01-01T00:00:00Z"}`, moment, "must be a time such as"}, // would read as an absent field
	} {
		w, r := post(c.body, applicationJSON)
		f := wire.ReadBody(w, r, "x")
		c.read(f)
		var field *wire.FieldError
		require.ErrorAs(t, f.Err(), &field, c.body)
		require.Equal(t, "x", field.Field)
		require.Contains(t, field.Reason, c.reason, c.body)
		require.Equal(t, "auth: x "+field.Reason, f.Err().Error())
	}
}

func TestTheFirstFaultIsReportedAndLaterFieldsReadAsZero(t *testing.T) {
	t.Parallel()
	w, r := post(`{"a":1,"b":2,"c":"text"}`, applicationJSON)
	f := wire.ReadBody(w, r, "a", "b", "c")
	require.Empty(t, f.Text("a"))
	require.Empty(t, f.Text("b"))
	require.Empty(t, f.Text("c"))
	f.Fail(errors.New("later"))
	require.ErrorContains(t, f.Err(), "a must be a string")
}

func TestNullIsNoValueOfAField(t *testing.T) {
	t.Parallel()
	w, r := post(`{"a":null}`, applicationJSON)
	f := wire.ReadBody(w, r, "a")
	require.Nil(t, f.OptionalFlag("a"))
	require.ErrorIs(t, f.Err(), wire.ErrNull)
	requireStatus(t, f.Err(), http.StatusBadRequest, "leave the field out")
}

func TestABodyThatIsNoJSONObjectIsRefused(t *testing.T) {
	t.Parallel()
	for body, detail := range map[string]string{
		"":                     "one JSON object",
		"[]":                   "one JSON object",
		`{"a":1} {}`:           "one JSON object",
		`{"a":1,"a":2}`:        "a field twice",
		`{"A":1}`:              "lower case",
		"{\"a\":\"\xff\"}":     "UTF-8",
		"{\"a\":\"\\u0000\"}":  "UTF-8 text without NUL",
		`{"a":"` + long(8<<10): "8 KiB",
	} {
		w, r := post(body, applicationJSON)
		status := http.StatusBadRequest
		if detail == "8 KiB" {
			status = http.StatusRequestEntityTooLarge
		}
		requireStatus(t, wire.ReadBody(w, r, "a").Err(), status, detail)
	}
}

func long(n int) string { return strings.Repeat("x", n) }

func TestABodyOfEightKiBIsRead(t *testing.T) {
	t.Parallel()
	body := `{"a":"` + long(8<<10-len(`{"a":""}`)) + `"}`
	w, r := post(body, applicationJSON)
	f := wire.ReadBody(w, r, "a")
	require.Len(t, f.Text("a"), 8<<10-len(`{"a":""}`))
	require.NoError(t, f.Err())
}

func TestOnlyJSONIsRead(t *testing.T) {
	t.Parallel()
	for contentType, accepted := range map[string]bool{
		"application/json":                    true,
		"Application/JSON; charset=UTF-8":     true,
		"application/json; charset=utf8":      true,
		"application/json;charset=\"UTF8\"":   true,
		"application/json; charset=utf-7":     false,
		"application/json; x=y":               true,
		"":                                    false,
		"text/plain":                          false,
		"application/json; charset=utf-16":    false,
		"application/json;":                   true,
		"application/json; charset":           false,
		"application/json; x=" + long(256-20): true,
		"application/json; x=" + long(256-19): false, // parsing half a megabyte takes 25 ms
	} {
		w, r := post(`{}`, contentType)
		f := wire.ReadBody(w, r)
		if accepted {
			require.NoError(t, f.Err(), contentType)
			continue
		}
		requireStatus(t, f.Err(), http.StatusUnsupportedMediaType, "application/json")
	}
	w, r := post(`{}`, applicationJSON)
	r.Header.Add("Content-Type", applicationJSON)
	requireStatus(t, wire.ReadBody(w, r).Err(), http.StatusUnsupportedMediaType, "application/json")
}

func TestAMisspelledFieldOfAnUnpublishedCallIsRefused(t *testing.T) {
	t.Parallel()
	w, r := post(`{"lable":"x"}`, applicationJSON)
	requireStatus(t, wire.ReadStrictBody(w, r, "label", "expires_at").Err(),
		http.StatusUnprocessableEntity, "the fields are label and expires_at")
	w, r = post(`{"label":"x"}`, applicationJSON)
	require.NoError(t, wire.ReadStrictBody(w, r, "label").Err())
	w, r = post("", "")
	f := wire.ReadStrictBody(w, r, "label")
	require.Empty(t, f.OptionalText("label"))
	require.NoError(t, f.Err(), "no body is an empty object")
}

func TestARequestThatNoServerHasMadeMayHaveNoBody(t *testing.T) {
	t.Parallel()
	w, r := post("", applicationJSON)
	r.Body = nil
	requireStatus(t, wire.ReadBody(w, r).Err(), http.StatusBadRequest, "one JSON object")
}

// failing is a body whose Read returns the error err.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestABodyThatDoesNotArriveIsRefused(t *testing.T) {
	t.Parallel()
	for err, want := range map[error]int{
		os.ErrDeadlineExceeded: http.StatusRequestTimeout,
		io.ErrUnexpectedEOF:    http.StatusBadRequest,
	} {
		w, r := post("", applicationJSON)
		r.Body = io.NopCloser(failing{err})
		requireStatus(t, wire.ReadBody(w, r).Err(), want, "Body ")
	}
}

// deadlines is a ResponseWriter that records the read deadlines that are set.
type deadlines struct {
	*httptest.ResponseRecorder
	set []time.Time
}

func (d *deadlines) SetReadDeadline(at time.Time) error {
	d.set = append(d.set, at)
	return nil
}

// The other half is for the store. If a body could take all of the time, a client could have every
// call of the store fail, and the log would tell of an outage.
func TestABodyHasHalfTheTimeOfItsRequestToArrive(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		half := time.Now().Add(30 * time.Second)
		_, r := post(`{}`, applicationJSON)
		w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
		require.NoError(t, wire.ReadBody(w, r.WithContext(ctx)).Err())
		require.Equal(t, []time.Time{half, {}}, w.set, "the connection's next request has its own")

		_, r = post("", applicationJSON)
		r.Body = io.NopCloser(failing{os.ErrDeadlineExceeded})
		w = &deadlines{ResponseRecorder: httptest.NewRecorder()}
		require.Error(t, wire.ReadBody(w, r.WithContext(ctx)).Err())
		require.Equal(t, []time.Time{half}, w.set, "the server still reads the rest of the body")
	})
}

func TestALineMayHaveNoFieldsButTheNamed(t *testing.T) {
	t.Parallel()
	f, err := wire.Parse([]byte(`{"a":"x"}`), []string{"a", "b"})
	require.NoError(t, err)
	require.Equal(t, "x", f.Text("a"))
	_, err = wire.Parse([]byte(`{"c":1}`), []string{"a", "b"})
	require.EqualError(t, err, "must have no fields but a, b")
	_, err = wire.Parse([]byte(`{"a":1,"a":2}`), []string{"a"})
	require.EqualError(t, err, "must not have a field twice")
}

func TestAnAnswerForbidsCachesTypeGuessingAndFrames(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	wire.WriteJSON(w, http.StatusTeapot, map[string]int{"a": 1})
	require.Equal(t, http.StatusTeapot, w.Code)
	require.Equal(t, "{\"a\":1}\n", w.Body.String())
	require.Equal(t, http.Header{
		"Content-Type": {"application/json"}, "Cache-Control": {"no-store"},
		"X-Content-Type-Options": {"nosniff"}, "Content-Length": {"8"},
		"Content-Security-Policy": {"frame-ancestors 'none'"},
	}, w.Header())

	w = httptest.NewRecorder()
	wire.WriteJSON(w, http.StatusOK, func() {})
	require.Equal(t, http.StatusInternalServerError, w.Code)
	require.JSONEq(t, `{"detail":"Internal error"}`, w.Body.String())
}

func TestDenyingFramesKeepsThePolicyOfTheHost(t *testing.T) {
	t.Parallel()
	const policy = "frame-ancestors 'none'"
	for _, c := range []struct{ before, after []string }{
		{nil, []string{policy}},
		{[]string{"frame-ancestors 'self'"}, []string{"frame-ancestors 'self'", policy}},
		{[]string{"img-src *", policy}, []string{"img-src *", policy}},
		// Browsers ignore 'none' beside another source, and a second directive of the same name.
		{[]string{policy + " https://b.example"}, []string{policy + " https://b.example", policy}},
		{[]string{"frame-ancestors *; " + policy}, []string{"frame-ancestors *; " + policy, policy}},
	} {
		header := http.Header{"Content-Security-Policy": c.before}
		wire.DenyFrames(header)
		wire.DenyFrames(header)
		require.Equal(t, c.after, header.Values("Content-Security-Policy"))
	}
}

func TestTimesAreWholeSecondsInUTC(t *testing.T) {
	t.Parallel()
	at := time.Date(2030, 1, 2, 3, 4, 5, 6, time.FixedZone("", 3600))
	require.Equal(t, "2030-01-02T02:04:05Z", wire.Time(at))
	require.Equal(t, new("2030-01-02T02:04:05Z"), wire.OptionalTime(at))
	for _, none := range []time.Time{
		{}, time.Time{}.In(time.FixedZone("", 3600)), time.Date(-5, 1, 1, 0, 0, 0, 0, time.UTC),
		time.Date(9999, 12, 31, 23, 59, 59, 0, time.FixedZone("", -3600)),
	} {
		require.Nil(t, wire.OptionalTime(none), none)
	}
}

package githubtest

import (
	"net/http"
	"net/url"
	"strings"
)

// authorizeFaults returns the faults that change the query of the redirect to the app.
func authorizeFaults() []NamedFault {
	other := strings.Repeat("0", 20)
	return []NamedFault{
		named("access denied", callback(func(query url.Values) {
			query.Del("code")
			for name, values := range errAccessDenied.values() {
				query[name] = values
			}
		})),
		named("unknown error", callback(func(query url.Values) {
			query.Del("code")
			query.Set("error", "out_of_cheese")
			query.Set("error_description", "<script>alert(1)</script>")
		})),
		named("error beside a code", callback(func(query url.Values) {
			query.Set("error", "access_denied")
		})),
		named("code missing", callback(func(query url.Values) { query.Del("code") })),
		named("code empty", callback(func(query url.Values) { query.Set("code", "") })),
		named("code wrong", callback(func(query url.Values) { query.Set("code", other) })),
		named("code twice", callback(func(query url.Values) { query.Add("code", other) })),
		named("state missing", callback(func(query url.Values) { query.Del("state") })),
		named("state empty", callback(func(query url.Values) { query.Set("state", "") })),
		named("state wrong", callback(func(query url.Values) { query.Set("state", other) })),
		named("state twice", callback(func(query url.Values) { query.Add("state", other) })),
		harmless(named("iss missing", callback(func(query url.Values) { query.Del("iss") }))),
		named("iss empty", callback(func(query url.Values) { query.Set("iss", "") })),
		named("iss wrong", callback(func(query url.Values) {
			query.Set("iss", elsewhere+"login/oauth")
		})),
		named("iss twice", callback(func(query url.Values) {
			query.Add("iss", elsewhere+"login/oauth")
		})),
	}
}

// callback returns a fault that uses the function change to change the query of the redirect to the
// app. The page that asks for consent stays unchanged.
func callback(change func(url.Values)) Fault {
	return edited(func(a *answer) {
		target, err := url.Parse(a.header.Get("Location"))
		if err != nil || a.status != http.StatusFound {
			return
		}
		query := target.Query()
		change(query)
		target.RawQuery = query.Encode()
		a.header.Set("Location", target.String())
	})
}

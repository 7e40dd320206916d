package githubtest

import (
	"encoding/json"
	"maps"
	"net/http"
)

// answer records an endpoint's response, so that a fault can change it.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// edited returns a fault that changes the endpoint's response if the response is a success or a
// redirect. Any other response is an error already and stays unchanged.
func edited(edit func(*answer)) Fault {
	return func(endpoint http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			a := &answer{header: make(http.Header)}
			endpoint.ServeHTTP(a, r)
			if a.status < http.StatusBadRequest {
				edit(a)
			}
			maps.Copy(w.Header(), a.header)
			w.WriteHeader(a.status)
			_, _ = w.Write(a.body)
		})
	}
}

// Header implements [http.ResponseWriter].
func (a *answer) Header() http.Header { return a.header }

// WriteHeader implements [http.ResponseWriter].
func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
}

// Write implements [http.ResponseWriter].
func (a *answer) Write(body []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	a.body = append(a.body, body...)
	return len(body), nil
}

// fields are the fields of a JSON object. Their values keep their spelling.
type fields map[string]json.RawMessage

// setJSON replaces the body.
func (a *answer) setJSON(value any) {
	a.body, _ = json.Marshal(value) // values here always encode
	a.header.Set("Content-Type", "application/json; charset=utf-8")
}

// setField sets a field of a JSON object, or of each object of a JSON list. Empty JSON removes the
// field. A body that is neither an object nor a list, such as a form, stays unchanged.
func (a *answer) setField(field, value string) {
	a.eachObject(func(object fields) {
		if value == "" {
			delete(object, field)
			return
		}
		object[field] = json.RawMessage(value)
	})
}

// eachObject changes the object in the body, or each object of the list in the body.
func (a *answer) eachObject(change func(fields)) {
	var one fields
	if json.Unmarshal(a.body, &one) == nil {
		change(one)
		a.setJSON(one)
		return
	}
	var list []fields
	if json.Unmarshal(a.body, &list) == nil {
		for _, entry := range list {
			change(entry)
		}
		a.setJSON(list)
	}
}

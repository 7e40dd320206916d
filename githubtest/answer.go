package githubtest

import (
	"encoding/json"
	"maps"
	"net/http"
)

// answer records the response of an endpoint, so that a fault can change the response before it is
// sent.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// edited returns a fault that calls the endpoint and changes its response with the function edit. A
// response with an error status stays unchanged.
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

// fields are the fields of a JSON object. Each value is the JSON text as it was received.
type fields map[string]json.RawMessage

// setJSON replaces the body with the JSON encoding of the value.
func (a *answer) setJSON(value any) {
	a.body, _ = json.Marshal(value) // values here always encode
	a.header.Set("Content-Type", "application/json; charset=utf-8")
}

// setField sets a field of the JSON object in the body to a JSON value. If the body is a list,
// setField sets the field in each object of the list. If the value is empty, setField removes the
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

// eachObject calls the given function with the JSON object in the body, so that the function can
// change the object. If the body is a list, eachObject calls the function with each object of the
// list. At the end, eachObject replaces the body with the changed JSON.
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

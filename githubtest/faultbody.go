package githubtest

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// bodyFaults returns the faults that change the JSON body of a response.
func bodyFaults() []NamedFault {
	return []NamedFault{
		named("empty body", edited(func(a *answer) { a.body = nil })),
		named("no content", Answer(http.StatusNoContent, "", "")),
		named("truncated JSON", edited(func(a *answer) { a.body = a.body[:max(0, len(a.body)-1)] })),
		named("HTML with status 200", Answer(http.StatusOK, "text/html; charset=utf-8", unicorn)),
		harmless(named("JSON called text", contentType("text/plain; charset=utf-8"))),
		harmless(named("JSON called HTML", contentType("text/html; charset=utf-8"))),
		named("null", jsonAnswer("null")),
		named("a string", jsonAnswer(`"octocat"`)),
		named("a number", jsonAnswer("583231")),
		named("array and object swapped", edited(swapShape)),
		named("zero bytes", jsonAnswer(strings.Repeat("\x00", 4096))),
		named("invalid UTF-8", edited(func(a *answer) {
			a.body = bytes.ReplaceAll(a.body, []byte(`":"`), []byte("\":\"\xff"))
		})),
		harmless(named("byte order mark", edited(func(a *answer) {
			a.body = append([]byte("\ufeff"), a.body...)
		}))),
		harmless(named("two documents", edited(func(a *answer) {
			a.body = append(a.body, a.body...)
		}))),
		harmless(named("garbage after the document", edited(func(a *answer) {
			a.body = append(a.body, "<!-- -->"...)
		}))),
		named("deep nesting", jsonAnswer(strings.Repeat("[", 100_000))),
		harmless(named("fields in capitals", edited(capitals))),
		harmless(named("everything twice", edited(twice))),
	}
}

// jsonAnswer returns a fault that responds with status 200 and this JSON body.
func jsonAnswer(body string) Fault {
	return Answer(http.StatusOK, "application/json; charset=utf-8", body)
}

func contentType(value string) Fault {
	return edited(func(a *answer) { a.header.Set("Content-Type", value) })
}

// swapShape wraps an object in an array and an array in an object.
func swapShape(a *answer) {
	if bytes.HasPrefix(a.body, []byte("[")) {
		a.body = fmt.Appendf(nil, `{"items":%s}`, a.body)
		return
	}
	a.body = fmt.Appendf(nil, "[%s]", a.body)
}

// capitals changes the field names to upper case. Some parsers accept such names.
func capitals(a *answer) {
	a.eachObject(func(object fields) {
		spelt := maps.Clone(object)
		clear(object)
		for name, value := range spelt {
			object[strings.ToUpper(name)] = value
		}
	})
}

// twice repeats the content of the body. In an object, every field appears twice with the same
// value. In a list, every entry appears twice.
func twice(a *answer) {
	if inner := len(a.body) - 1; inner > 1 {
		a.body = slices.Concat(a.body[:inner], []byte(","), a.body[1:])
	}
}

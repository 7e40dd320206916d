package histories

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/sallyport-go/auth"
)

// A history contains everything that the check needs.
type history struct {
	supers, subjects []string
	records          []record
	base             int64 // head of the feed before the history
	everybody        int64 // the greatest Generation of an entry for everybody before the history
	feed             []auth.Revocation
	older            []auth.Revocation // the latest entries before the history
	before, after    []auth.Revocation // older entries in force for a user who folds, before and after
	keys             map[string]string // the first key of each user that existed before the history
	timeout          time.Duration
}

// ErrTimeout means that the check of a history took longer than the Timeout of [Config]. This is a
// failure, because the history can be wrong.
var ErrTimeout = errors.New("the check did not end in time")

// ErrContract means that no order of the calls of a history explains all answers. So the store
// breaks the contract of [auth.Store].
var ErrContract = errors.New("the store breaks its contract")

// check returns an error that wraps [ErrContract] or [ErrTimeout] unless the history is
// linearizable.
func (h *history) check() error {
	err := h.checkAll()
	if err == nil || errors.Is(err, ErrTimeout) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrContract, err)
}

func (h *history) checkAll() error {
	h.resolve()
	feed := feedCheck{h.base, h.older, h.feed, h.records}
	if err := feed.check(); err != nil {
		return err
	}
	deadline := time.Now().Add(h.timeout)
	for _, subject := range h.subjects {
		if err := h.checkUsers(append([]string{subject}, h.supers...), deadline); err != nil {
			return err
		}
	}
	return h.checkNames(deadline)
}

// resolve sets the Generation of each call of CreateSession. If the outcome of the call is unknown,
// other answers of the history can show the Generation.
func (h *history) resolve() {
	generations := map[string]int64{}
	for _, r := range h.records {
		for _, session := range r.answer.Sessions {
			generations[session.ID] = session.Generation
		}
	}
	for i := range h.records {
		r := &h.records[i]
		if r.call.Verb != createSession {
			continue
		}
		r.call.Generation = unknownGeneration
		if r.answer.Error == "" {
			r.call.Generation = r.answer.Sessions[0].Generation
		} else if generation, ok := generations[r.call.Session]; ok {
			r.call.Generation = generation
		}
	}
}

// model returns the model for the users.
func (h *history) model(users []string) *model {
	m := &model{users: users, older: h.after}
	for _, e := range h.feed {
		if e.UserID == "" || slices.Contains(users, e.UserID) {
			m.feed = append(m.feed, e)
		}
	}
	m.expiry = map[int64]int64{}
	show := func(e auth.Revocation) {
		if !e.ExpiresAt.IsZero() {
			m.expiry[e.Position] = micros(e.ExpiresAt)
		}
	}
	for _, e := range m.feed {
		show(e)
	}
	for _, r := range h.records {
		for _, e := range r.answer.Entries {
			show(e)
		}
	}
	m.initial.everybody = h.everybody
	for _, user := range users {
		key, exists := h.keys[user]
		a := &account{exists: exists, active: exists, super: slices.Contains(h.supers, user),
			older: forceOf(user, h.before)}
		if exists {
			a.keys = []string{key}
		}
		m.initial.users = append(m.initial.users, a)
	}
	return m
}

// checkUsers returns an error unless the calls that concern these users are linearizable.
func (h *history) checkUsers(users []string, deadline time.Time) error {
	m := h.model(users)
	p := m.porcupine()
	return h.linearizable(strings.Join(users, ", "), p,
		func(records []record) []porcupine.Operation { return h.operations(users, records) },
		func(operations []porcupine.Operation) string { return explain(m, p, operations) }, deadline)
}

// linearizable returns an error unless the calls that the function selects are linearizable according to the
// model. The function explain says more about an order that was not found.
func (h *history) linearizable(
	about string, p porcupine.Model, selected func([]record) []porcupine.Operation,
	explain func([]porcupine.Operation) string, deadline time.Time,
) error {
	// The outcome of some calls is unknown. The first two checks assume when these calls took effect.
	// They are fast, and an order that they find is valid. If an assumption is wrong, they find
	// none. The last check assumes nothing.
	var likely []porcupine.Operation
	for i, assumed := range [][]record{h.likely(), h.bounded()} {
		operations := selected(assumed)
		share := []time.Duration{8, 2}[i] // of the time that is left
		result := porcupine.CheckOperationsTimeout(p, operations, max(until(deadline)/share, 1))
		if result == porcupine.Ok {
			return nil
		}
		likely = operations
		if !h.uncertain() && result == porcupine.Illegal {
			return fmt.Errorf("the calls about %s are not linearizable\n%s", about, explain(operations))
		}
	}
	operations := selected(h.records)
	switch porcupine.CheckOperationsTimeout(p, operations, until(deadline)) {
	case porcupine.Ok:
		return nil
	case porcupine.Unknown:
		return fmt.Errorf("%w: %d calls about %s\n%s", ErrTimeout, len(operations), about,
			explain(likely))
	}
	return fmt.Errorf("the calls about %s are not linearizable\n%s", about, explain(operations))
}

// uncertain reports whether the outcome of a call is unknown.
func (h *history) uncertain() bool {
	return slices.ContainsFunc(h.records, func(r record) bool { return r.answer.Error == unknown })
}

// until returns the time that is left. It is never 0, because porcupine would then take any time.
func until(deadline time.Time) time.Duration { return max(time.Until(deadline), 1) }

// operations returns those of the records that concern the users.
func (h *history) operations(users []string, records []record) (operations []porcupine.Operation) {
	var last time.Duration
	for _, r := range records {
		if r.end != infinity {
			last = max(last, r.end)
		}
		switch r.call.Verb {
		case revocationHead, listRevocations:
			continue
		case revokeEverybody, pruneSessions:
		default:
			if !slices.Contains(users, r.call.User) {
				continue
			}
		}
		if r.call.Verb.reads() && r.answer.Error == unknown {
			continue
		}
		operations = append(operations, operation(r))
	}
	return append(operations, operation(record{call: call{Verb: end}, begin: last + 1, end: last + 2}))
}

func operation(r record) porcupine.Operation {
	return porcupine.Operation{ClientId: r.client, Input: r.call, Output: r.answer,
		Call: int64(r.begin), Return: int64(r.end), Metadata: r}
}

func (m *model) porcupine() porcupine.Model {
	nondeterministic := porcupine.NondeterministicModel{
		Init: func() []any { return []any{&m.initial} },
		Step: func(s, input, output any) (next []any) {
			for _, n := range m.step(s.(*state), input.(call), output.(answer)) {
				next = append(next, n)
			}
			return next
		},
		Equal: func(a, b any) bool { return equalStates(a.(*state), b.(*state)) },
		Hash:  func(s any) uint64 { return s.(*state).hash() },
	}
	return nondeterministic.ToModel()
}

// explain returns the end of the longest order of calls that the model allows, and the calls that
// come next. It searches for a few seconds.
func explain(m *model, p porcupine.Model, operations []porcupine.Operation) string {
	const search = 5 * time.Second
	_, info := porcupine.CheckOperationsVerbose(p, operations, search)
	var longest []porcupine.Operation
	for _, order := range info.PartialLinearizationsOperations()[0] {
		if len(order) > len(longest) {
			longest = order
		}
	}
	states := []*state{&m.initial}
	placed := map[string]bool{}
	for _, o := range longest {
		var next []*state
		for _, s := range states {
			next = append(next, m.step(s, o.Input.(call), o.Output.(answer))...)
		}
		states = next
		placed[describe(o.Metadata.(record))] = true
	}
	var text strings.Builder
	const shown = 25
	fmt.Fprintf(&text, "a possible order of %d of the %d calls ends with:\n", len(longest), len(operations))
	for _, o := range longest[max(0, len(longest)-shown):] {
		fmt.Fprintln(&text, describe(o.Metadata.(record)))
	}
	for _, s := range states[:min(1, len(states))] {
		fmt.Fprintf(&text, "state: %d of %d entries, everybody %d\n", s.read, len(m.feed), s.everybody)
		for u, a := range s.users {
			fmt.Fprintf(&text, "  %s: %+v\n", m.users[u], *a)
		}
		for _, e := range m.feed[s.read:min(s.read+5, len(m.feed))] {
			fmt.Fprintf(&text, "  next entry: %+v\n", e)
		}
	}
	fmt.Fprintln(&text, "none of these calls can come next:")
	left := slices.DeleteFunc(slices.Clone(operations), func(o porcupine.Operation) bool {
		return placed[describe(o.Metadata.(record))]
	})
	slices.SortFunc(left, func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })
	for _, o := range left[:min(shown, len(left))] {
		fmt.Fprintln(&text, describe(o.Metadata.(record)))
	}
	return text.String()
}

// describe returns the record as one line.
func describe(r record) string {
	input, _ := json.Marshal(r.call)
	output, _ := json.Marshal(r.answer)
	last := "never"
	if r.end != infinity {
		last = r.end.String()
	}
	return fmt.Sprintf("%v to %s, client %d: %s: %s", r.begin, last, r.client, input, output)
}

// micros returns the time as a store keeps it.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

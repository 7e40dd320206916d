package auth

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/sallyport-go/auth/internal/limits"
)

// ExportUser writes everything that the store keeps about the user to w, as one JSON object. Use it to
// answer a person who asks for the data about them. docs/export.md describes the fields. The object
// contains no secret and no hash of a secret.
//
// If the host has a [UserSource], the object has the record that FindUser returns. The record is null
// if the host no longer has the user. Without a UserSource, ExportUser returns ErrNotFound if there is
// no such user.
//
// ExportUser checks no authority, so the caller must check who asks. It reads the audit trail in pages,
// and holds at most one page of events in memory. Other calls can change the records during the export,
// so the object need not show one moment. If ExportUser returns any other error than ErrNotFound, w can
// have a part of the object.
func (s *Service) ExportUser(ctx context.Context, w io.Writer, userID string) error {
	if checkID("user_id", userID, MaxIDLength) != nil { // an empty ID would select the events of all users
		return fmt.Errorf("auth: exporting a user: %w", ErrNotFound)
	}
	user, err := s.directory.FindUser(ctx, userID)
	var record any = user
	if errors.Is(err, ErrNotFound) && s.users == nil {
		record, err = nil, nil
	}
	if err != nil {
		return fmt.Errorf("auth: exporting a user: %w", err)
	}
	e := &userExport{service: s, userID: userID, w: bufio.NewWriter(w)}
	e.begin("user")
	e.value(record)
	for _, write := range []func(context.Context) error{
		e.retiredUsernames, e.accessKeys, e.sessions, e.githubAccounts, e.eventsAbout, e.eventsBy,
	} {
		if err := write(ctx); err != nil {
			return fmt.Errorf("auth: exporting a user: %w", err)
		}
	}
	e.text("\n}\n")
	return e.flush()
}

// userExport is the state of one call of ExportUser. After an error, the writer ignores all further
// text, so that only flush has to look at the error.
type userExport struct {
	service *Service
	userID  string
	w       *bufio.Writer
	fields  int
	err     error // why a value could not be encoded
}

func (e *userExport) flush() error {
	if err := cmp.Or(e.err, e.w.Flush()); err != nil {
		return fmt.Errorf("auth: writing an export: %w", err)
	}
	return nil
}

func (e *userExport) text(text string) { _, _ = e.w.WriteString(text) }

// begin writes the name of the next field.
func (e *userExport) begin(name string) {
	separator := ",\n"
	if e.fields == 0 {
		separator = "{\n"
	}
	e.fields++
	e.text(separator + `  "` + name + `": `)
}

// value writes a value as JSON.
func (e *userExport) value(value any) {
	text, err := json.Marshal(value)
	e.err = cmp.Or(e.err, err)
	_, _ = e.w.Write(text)
}

// list writes a field with an array, with one element in each line.
func list[R any](e *userExport, name string, records []R, element func(R) any) {
	e.begin(name)
	e.text("[")
	for i, record := range records {
		e.element(i, element(record))
	}
	e.text("]")
}

func (e *userExport) element(i int, value any) {
	if i > 0 {
		e.text(",")
	}
	e.text("\n    ")
	e.value(value)
}

func (e *userExport) retiredUsernames(ctx context.Context) error {
	var names []string
	if e.service.users != nil {
		var err error
		if names, err = e.service.users.ListRetiredUsernames(ctx, e.userID); err != nil {
			return err
		}
	}
	list(e, "retired_usernames", names, func(name string) any { return name })
	return nil
}

// exportedKey is an [AccessKey] without its hashes.
type exportedKey struct {
	AccessKey     string    `json:"access_key"`
	Label         string    `json:"label"`
	CreatedAt     time.Time `json:"created_at"`
	ExpiresAt     time.Time `json:"expires_at,omitzero"`
	PreviousUntil time.Time `json:"previous_until,omitzero"`
	LastUsedAt    time.Time `json:"last_used_at,omitzero"`
	Scopes        *ScopeSet `json:"scopes"`
	MustRotate    bool      `json:"must_rotate,omitzero"`
	NoticeAt      time.Time `json:"expiry_notice_at,omitzero"`
}

func (e *userExport) accessKeys(ctx context.Context) error {
	keys, err := e.service.store.ListKeys(ctx, e.userID)
	if err != nil {
		return err
	}
	list(e, "access_keys", keys, func(k AccessKey) any {
		return exportedKey{k.ID, k.Label, k.CreatedAt, k.ExpiresAt, k.PreviousUntil, k.LastUsedAt, k.Scopes,
			k.MustRotate, k.ExpiryNoticeAt}
	})
	return nil
}

// exportedSession is a [Session] without its Generation, which says nothing about the user.
type exportedSession struct {
	ID        string       `json:"id"`
	Method    SignInMethod `json:"method"`
	AccessKey string       `json:"access_key,omitzero"`
	CreatedAt time.Time    `json:"created_at"`
	ExpiresAt time.Time    `json:"expires_at"`
	UserAgent string       `json:"user_agent"`
	IP        string       `json:"ip"`
	Scopes    *ScopeSet    `json:"scopes"`
	Audience  string       `json:"audience,omitzero"`
}

// sessions also writes the expired sessions that have not been pruned.
func (e *userExport) sessions(ctx context.Context) error {
	sessions, err := e.service.store.ListSessions(ctx, e.userID, limits.EarliestTime)
	if err != nil {
		return err
	}
	list(e, "sessions", sessions, func(s Session) any {
		return exportedSession{s.ID, s.Method, s.AccessKeyID, s.CreatedAt, s.ExpiresAt, s.UserAgent,
			s.Address, s.Scopes, s.Audience}
	})
	return nil
}

// exportedAccount is a GitHub account that is remembered for the user, with its [GitHubLink] and its
// [GitHubToken].
type exportedAccount struct {
	GitHubAccount
	Linked    bool           `json:"linked"`
	Login     string         `json:"login,omitzero"`
	Name      string         `json:"name,omitzero"`
	AvatarURL string         `json:"avatar_url,omitzero"`
	CreatedAt time.Time      `json:"created_at,omitzero"`
	SeenAt    time.Time      `json:"seen_at,omitzero"`
	Token     *exportedToken `json:"token"`
}

// exportedToken is a [GitHubToken] without the token itself.
type exportedToken struct {
	Scopes    string    `json:"scopes"`
	UpdatedAt time.Time `json:"updated_at"`
}

func (e *userExport) githubAccounts(ctx context.Context) error {
	accounts, err := e.service.store.ListGitHubAccounts(ctx, e.userID)
	if err != nil {
		return err
	}
	exported := make([]exportedAccount, len(accounts))
	for i, account := range accounts {
		exported[i].GitHubAccount = account
		link, token, err := e.service.store.FindGitHubConnection(ctx, e.userID, account.Host)
		switch {
		case errors.Is(err, ErrNotFound), err == nil && link.Account != account:
			continue // remembered, but not linked
		case err != nil:
			return err
		}
		exported[i] = exportedAccount{GitHubAccount: account, Linked: true, Login: link.Login,
			Name: link.Name, AvatarURL: link.AvatarURL, CreatedAt: link.CreatedAt, SeenAt: link.SeenAt}
		if token != nil {
			exported[i].Token = &exportedToken{token.Scopes, token.UpdatedAt}
		}
	}
	list(e, "github_accounts", exported, func(a exportedAccount) any { return a })
	return nil
}

func (e *userExport) eventsAbout(ctx context.Context) error {
	return e.events(ctx, "events_about", EventFilter{UserID: e.userID}, func(Event) bool { return true })
}

// eventsBy writes the events that the user caused, without those that eventsAbout writes.
func (e *userExport) eventsBy(ctx context.Context) error {
	return e.events(ctx, "events_by", EventFilter{ActorID: e.userID}, func(event Event) bool {
		return event.UserID != e.userID
	})
}

// exportedEvents is the number of events on one page.
const exportedEvents = 200

func (e *userExport) events(
	ctx context.Context, name string, filter EventFilter, wanted func(Event) bool,
) error {
	e.begin(name)
	trail := e.service.events.trail
	if trail == nil {
		e.text("null")
		return nil
	}
	e.text("[")
	for written := 0; ; {
		page, err := trail.ListEvents(ctx, filter, exportedEvents)
		if errors.Is(err, ErrNotFound) && filter.Before != "" {
			break // the last event of the previous page was pruned, and so were all older events
		}
		if err != nil {
			return err
		}
		for _, event := range page {
			if wanted(event) {
				e.element(written, e.withoutOthersData(event))
				written++
			}
		}
		if err := e.flush(); err != nil { // so that a client that has gone away ends the export
			return err
		}
		if len(page) < exportedEvents {
			break
		}
		filter.Before = page[len(page)-1].ID
	}
	e.text("]")
	return nil
}

// withoutOthersData returns the event without data about another user. If another user caused the event,
// these are the client and the session. If the event is about another user, these are the access key, the
// GitHub account and the reason.
func (e *userExport) withoutOthersData(event Event) Event {
	if event.ActorID != e.userID {
		event.Client, event.SessionID = ClientInfo{}, ""
	}
	if event.UserID != e.userID {
		event.AccessKey, event.GitHub, event.Reason = "", GitHubAccount{}, ""
	}
	return event
}

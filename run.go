package auth

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/sallyport-go/auth/eventkind"
	"github.com/sallyport-go/auth/internal/devicecode"
	"github.com/sallyport-go/auth/internal/githubapi"
	"github.com/sallyport-go/auth/internal/outage"
	"github.com/sallyport-go/auth/internal/revocation"
	"github.com/sallyport-go/auth/internal/text"
	"github.com/sallyport-go/auth/internal/wire"
)

const (
	pruneInterval = 10 * time.Minute
	pruneBatch    = 500 // records to remove in one transaction; more would hold locks longer

	// feedInterval is the time after which Run reads the revocation feed again while there are requests.
	// It is a little less than a second, because pgx pings a connection that has been idle for longer than
	// a second before it uses the connection again. Most of the cost of a read is the time to wake the
	// server process, and the ping would wake it one more time.
	feedInterval = 950 * time.Millisecond

	// An expired key stays in the store for 30 days, so that its owner sees why it stopped working.
	expiredKeyRetention = 30 * 24 * time.Hour

	// The hash of a previous secret stays for an hour after its overlap, because the clocks of
	// instances differ.
	previousHashRetention = time.Hour
)

// Run does the background work of an instance until ctx is done, and returns ctx's error:
//
//   - It reads the revocation feed once a second. If RevocationInterval is shorter than two seconds, it
//     reads the feed twice in each RevocationInterval. After 30 seconds without a request that has a
//     token, it reads the feed about a second before the latest read is a RevocationInterval old. The
//     next such request ends this at once.
//   - It delivers events to Config.OnEvent: see [EventLog.Run].
//   - It calls [Service.Prune] at once, and then every ten minutes.
//
// If one of these fails, Run tries again at the next interval. The failure is logged.
//
// Call Run on every instance. Without Run, the first request in each RevocationInterval reads the
// feed, events go to the log and wait for OnEvent, and the host must call Prune itself.
//
// The goroutines of Run end before Run returns, with one exception. If a call of OnEvent still runs
// 5 seconds after ctx is done, Run returns without waiting for it any longer.
//
// Stop the HTTP server before ctx is done, because no event is delivered after Run has returned. If
// an event occurs later and is not stored in the audit trail, it is written to the log instead.
func (s *Service) Run(ctx context.Context) error {
	var delivery sync.WaitGroup
	defer delivery.Wait()
	delivery.Go(func() { s.events.Run(ctx) })
	feed := s.tokens.feed // nil if the sessions are checked in the store
	if feed != nil {
		// Read the feed before pruning, because no token is accepted until the first read. If the read
		// fails, the TokenIssuer logs the failure: see logFeed.
		_ = feed.ReadNow(ctx)
	}
	var pruning sync.WaitGroup
	defer pruning.Wait()
	pruning.Go(func() { s.pruneRegularly(ctx) })
	if feed != nil {
		every := min(feedInterval, s.tokens.cfg.RevocationInterval/2)
		return feed.Follow(ctx, max(time.Millisecond, every))
	}
	<-ctx.Done()
	return ctx.Err()
}

// pruneRegularly prunes at once, and then every ten minutes until ctx is done. It runs in its own
// goroutine, because Run must keep reading the feed during a long pruning.
func (s *Service) pruneRegularly(ctx context.Context) {
	again := time.NewTicker(pruneInterval)
	defer again.Stop()
	for ctx.Err() == nil {
		if _, err := s.Prune(ctx); err != nil && ctx.Err() == nil {
			s.log.ErrorContext(ctx, "auth: pruning failed", "error", err)
		}
		select {
		case <-again.C:
		case <-ctx.Done():
		}
	}
}

// Prune removes expired records in batches and returns the number of removed records. It removes
// expired sessions, used states of GitHub flows, and expired entries of the revocation feed. It also
// removes access keys that expired at least 30 days ago, hashes of previous secrets that have not
// worked for an hour, codes of devices that expired at least ten minutes ago, events of the audit trail
// that are older than Config.AuditRetention, and usernames that were retired longer ago than
// Config.NameRetention. It forgets clients from which no user has signed in for Config.AuditRetention, or
// for 30 days if that is longer. If Prune returns an error, the records that were removed before the error
// stay removed.
//
// Prune also emits an [eventkind.KeyExpiring] for each access key that expires within 14 days, and another
// one if the key expires within a day. If several instances call Prune, only one of them emits the event. It
// does so also if pruning fails. docs/events.md says which keys get no event.
//
// If the store has a method DatabaseTime(context.Context) (time.Time, error), such as the stores of package
// sqlstore, Prune removes nothing while the clock of this instance is more than 30 seconds ahead of that
// time, and returns an error. If Config.Now is set, Prune does not compare the clocks.
func (s *Service) Prune(ctx context.Context) (removed int, err error) {
	if err := s.checkClock(ctx); err != nil {
		return 0, fmt.Errorf("auth: pruning: %w", err)
	}
	removed, err = s.prune(ctx)
	return removed, errors.Join(err, s.noticeExpiringKeys(ctx))
}

// maxAhead is how far the clock of an instance that prunes may be ahead of the clock of the store.
const maxAhead = 30 * time.Second

// checkClock returns an error if the clock of this instance is ahead of the clock of the store. Prune would
// remove records that have not expired. Among them are revocations, so that an instance that starts later
// would accept revoked tokens.
func (s *Service) checkClock(ctx context.Context) error {
	if s.storeClock == nil {
		return nil
	}
	now := s.now()
	at, err := s.storeClock(ctx)
	switch {
	case errors.Is(err, errors.ErrUnsupported): // a wrapper of a store without the method
		return nil
	case err != nil:
		return fmt.Errorf("reading the clock of the database: %w", err)
	case now.Sub(at) > maxAhead:
		return fmt.Errorf("the clock of this machine is %s ahead of the clock of the database, so records "+
			"that have not expired would be removed: synchronize the clocks: nothing was removed",
			now.Sub(at).Round(time.Second))
	}
	return nil
}

func (s *Service) prune(ctx context.Context) (removed int, err error) {
	now := s.now()
	type prunable struct {
		name    string
		prune   func(ctx context.Context, expired time.Time, limit int) (int, error)
		expired time.Time
	}
	kinds := []prunable{
		{"sessions", s.store.PruneSessions, now},
		{"access keys", s.store.PruneKeys, now.Add(-expiredKeyRetention)},
		{"previous hashes", s.store.PrunePreviousHashes, now.Add(-previousHashRetention)},
		{"states", s.store.PruneStates, now},
		{"clients", s.store.PruneClients, now.Add(-max(s.retention, clientRetention))},
		{"revocations", s.store.PruneRevocations, now.Add(-revocation.Grace)},
	}
	if s.devices != nil {
		kinds = append(kinds, prunable{"devices", s.devices.PruneDevices, now.Add(-devicecode.Lifetime)})
	}
	if trail := s.events.trail; trail != nil {
		kinds = append(kinds, prunable{"events", trail.PruneEvents, now.Add(-s.retention)})
	}
	if retired := now.Add(-s.keepNames); s.keepNames > 0 {
		kinds = append(kinds, prunable{"GitHub accounts", s.store.PruneGitHubAccounts, retired})
		if s.users != nil {
			kinds = append(kinds, prunable{"usernames", s.users.PruneRetiredUsernames, retired})
		}
	}
	for _, kind := range kinds {
		for {
			n, err := kind.prune(ctx, kind.expired, pruneBatch)
			removed += n
			if err != nil {
				return removed, fmt.Errorf("auth: pruning %s: %w", kind.name, err)
			}
			if n < pruneBatch {
				break
			}
		}
	}
	return removed, nil
}

// Ping returns an error unless the store answers within Config.Timeout. Ping only reads. So if the disk
// of the database is full, Ping returns nil although no user can sign in.
//
// Use Ping for alerts. For a load balancer, use GET /readyz, because an instance
// accepts tokens for up to MaxStaleness after the store has stopped answering.
func (s *Service) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	if err := s.store.Ping(ctx); err != nil {
		return fmt.Errorf("auth: the store does not answer: %w", err)
	}
	return nil
}

// checkReady returns an error if this instance cannot accept a token now. It accepts tokens until
// its copy of the revocation feed is as old as MaxStaleness. With CheckSessionsInStore, it accepts
// tokens while the store answers.
//
// Anyone can make any number of requests that call checkReady, so checkReady reads the store at most
// once a second.
func (s *Service) checkReady(ctx context.Context) error {
	if feed := s.tokens.feed; feed != nil {
		return feed.CheckUsable(ctx)
	}
	return s.pings.Ask(ctx, "", "", func() error { return s.Ping(context.WithoutCancel(ctx)) },
		func(error) bool { return true })
}

// FeedAge returns how long ago this instance last read the revocation feed completely. It also
// reports whether the instance still accepts tokens, which it does while the age is below
// MaxStaleness. The host can use FeedAge for monitoring. Before the first complete read, the age is
// math.MaxInt64. With CheckSessionsInStore, FeedAge returns 0 and true.
func (s *Service) FeedAge() (age time.Duration, accepts bool) {
	feed := s.tokens.feed
	if feed == nil {
		return 0, true
	}
	age = feed.Age(s.now())
	return age, age < s.tokens.cfg.MaxStaleness
}

// maxListedEvents is the maximum number of events that one call of Events returns.
const maxListedEvents = 200

// errNoTrail is the error of [Service.Events] if the service has no audit trail.
var errNoTrail = errors.New("auth: there is no audit trail: the store is no EventStore, or " +
	"Config.DisableAuditTrail is set")

// Events returns at most limit events of the audit trail that match the filter, the newest first.
// The limit is from 1 to 200. To list the next page, set the filter's Before to the ID of the last
// event.
//
// Events returns ErrNotFound if no event has the ID in the filter's Before, and an *InvalidError if
// the filter is not valid or limit is out of range. If the store is no [EventStore] or
// Config.DisableAuditTrail is set, there is no audit trail, and Events returns an error that says so.
func (s *Service) Events(ctx context.Context, filter EventFilter, limit int) ([]Event, error) {
	switch {
	case s.events.trail == nil:
		return nil, errNoTrail
	case limit < 1 || limit > maxListedEvents:
		return nil, invalidf("limit", "must be from 1 to %d", maxListedEvents)
	}
	events, err := s.events.trail.ListEvents(ctx, filter, limit)
	if err != nil {
		return nil, fmt.Errorf("auth: listing events: %w", err)
	}
	return events, nil
}

// eventJSON is an [Event] as JSON, with the names of the answer of GET /auth/events.
type eventJSON struct {
	ID        string         `json:"id,omitzero"`
	Kind      eventkind.Kind `json:"kind"`
	At        time.Time      `json:"at,omitzero"`
	UserID    string         `json:"user_id,omitzero"`
	ActorID   string         `json:"actor_id,omitzero"`
	Host      string         `json:"host,omitzero"`
	SessionID string         `json:"session_id,omitzero"`
	AccessKey string         `json:"access_key,omitzero"`
	Method    SignInMethod   `json:"method,omitzero"`
	GitHub    GitHubAccount  `json:"github,omitzero"`
	Reason    string         `json:"reason,omitzero"`
	IP        netip.Addr     `json:"ip,omitzero"`
	UserAgent string         `json:"user_agent,omitzero"`
	RequestID string         `json:"request_id,omitzero"`
}

// MarshalJSON returns the nonzero fields of the event, with the names of the answer of
// GET /auth/events. UnmarshalJSON reads this form.
//
// A struct that embeds an Event has this method, too, so [json.Marshal] loses the other fields of the
// struct. Put the Event into a field with a name instead, such as Event auth.Event `json:"event"`.
func (e Event) MarshalJSON() ([]byte, error) {
	return json.Marshal(eventJSON{e.ID, e.Kind, e.At, e.UserID, e.ActorID, e.Host, e.SessionID, e.AccessKey,
		e.Method, e.GitHub, e.Reason, e.Client.Address, e.Client.UserAgent, e.Client.RequestID})
}

// UnmarshalJSON reads the form that MarshalJSON writes. It ignores unknown fields, and returns the
// errors of [json.Unmarshal].
func (e *Event) UnmarshalJSON(text []byte) error {
	var j eventJSON
	if err := json.Unmarshal(text, &j); err != nil {
		return err
	}
	*e = Event{j.ID, j.Kind, j.At, j.UserID, j.ActorID, j.Host, j.SessionID, j.AccessKey, j.Method, j.GitHub,
		j.Reason, ClientInfo{Address: j.IP, UserAgent: j.UserAgent, RequestID: j.RequestID}}
	return nil
}

// The operations of logFailure and logSuccess. A route of the host is behind the middleware, and a call of
// this package is served.
const (
	identifying  = "identify"
	readingPower = "super user"
	serving      = "serve"
)

// logFailure logs err if it means that the store or GitHub could not answer. It does not log err if
// the client has gone away. While requests keep failing, logFailure only counts most of them: see
// package internal/outage. The operation argument is that of [Service.logSuccess].
func (s *Service) logFailure(operation string, r *http.Request, err error) {
	if !isOutage(r, err) {
		return
	}
	cause := failureCause(err)
	logRequest(s.log, s.failures[cause], operation, r, clientOfRequest(r, s.clients), err,
		slog.String("cause", failureCauses[cause]))
}

// isOutage reports whether err means that the store, GitHub or the server of public keys could not
// answer. It returns false if the client has gone away, because err may then be a consequence.
func isOutage(r *http.Request, err error) bool {
	var answered *wire.RequestError
	status, _ := ErrorStatus(err)
	gone := errors.Is(r.Context().Err(), context.Canceled) || errors.Is(err, context.Canceled)
	return status == http.StatusServiceUnavailable && !gone && !errors.As(err, &answered) &&
		!errors.Is(err, ErrGitHubNotConfigured)
}

// recordRefusal emits eventkind.AccessRefused if err refuses a known caller. It ignores refused sign-ins
// with GitHub, which have their own events.
func (s *Service) recordRefusal(r *http.Request, err error) {
	status, reason := ErrorStatus(err)
	switch {
	case errors.Is(err, errOtherOwner):
		reason = "it belongs to another user"
	case status != http.StatusForbidden || isGitHubRefusal(err):
		return
	}
	e := Event{Kind: eventkind.AccessRefused, Reason: reason}
	e.setSubject(err)
	if caller, ok := IdentityFromContext(r.Context()); ok {
		e.UserID, e.ActorID, e.SessionID = cmp.Or(e.UserID, caller.UserID), caller.UserID, caller.SessionID
	} else { // setSubject has set UserID to the user of a session cookie
		e.ActorID = e.UserID
	}
	if e.ActorID == "" {
		return // no event, because anyone can send any number of requests without a known caller
	}
	s.events.emit(WithClientInfo(r.Context(), clientOfRequest(r, s.clients)), e)
}

// maxMethodLength is the maximum length of a method in the log, in bytes. net/http accepts methods as
// long as the headers may be, which is a megabyte.
const maxMethodLength = 32

// logRequest counts a request that failed with err, and writes a log line if one is due.
func logRequest(
	log *slog.Logger, failures *outage.Tracker, operation string, r *http.Request, client ClientInfo,
	err error, attributes ...slog.Attr,
) {
	report, due := failures.Fail(operation+" "+r.Pattern, 1)
	if !due {
		return
	}
	attributes = append(attributes, slog.Int64("requests", report.Failures), slog.Time("since", report.Since),
		slog.String("method", text.Readable(r.Method, maxMethodLength)), slog.String("pattern", r.Pattern))
	if id := client.readable().RequestID; id != "" {
		attributes = append(attributes, slog.String("request_id", id))
	}
	if caller, ok := IdentityFromContext(r.Context()); ok {
		attributes = append(attributes, slog.String("user_id", caller.UserID))
	}
	message := "auth: request failed"
	if report.Failures > 1 {
		message = "auth: further requests failed; this is the latest"
	}
	log.LogAttrs(r.Context(), slog.LevelError, message, append(attributes, slog.Any("error", err))...)
}

// watchGitHub returns the request with a context in which githubapi notes an answer of GitHub, for
// logSuccess. If there is no outage of GitHub, it returns the request itself.
func (s *Service) watchGitHub(r *http.Request) *http.Request {
	for _, failures := range s.failures[causeGitHub:] {
		if failures.Failing() {
			return r.WithContext(githubapi.WithAnswerMark(r.Context()))
		}
	}
	return r
}

// logSuccess records that an operation has served the request. If this ends an outage, logSuccess logs
// the end. The operation argument and the pattern of the request distinguish calls that can fail
// independently.
//
// An outage of GitHub ends only with a request for which GitHub has answered a call: for most users,
// a sign-in with an access key asks only the store.
func (s *Service) logSuccess(operation string, r *http.Request) {
	for cause, failures := range s.failures {
		if !failures.Failing() { // checked first, because building the text of the operation allocates
			continue
		}
		if cause >= causeGitHub && !githubapi.HasAnswered(r.Context()) {
			continue
		}
		logRecovery(s.log, failures, operation, r, slog.String("cause", failureCauses[cause]))
	}
}

// logRecovery writes a log line if the request ends an outage.
func logRecovery(
	log *slog.Logger, failures *outage.Tracker, operation string, r *http.Request, attributes ...slog.Attr,
) {
	report, due := failures.Succeed(operation + " " + r.Pattern)
	if !due {
		return
	}
	log.LogAttrs(r.Context(), slog.LevelInfo, "auth: requests succeed again", append(attributes,
		slog.Int64("requests", report.Failures), slog.Duration("lasted", report.Lasted))...)
}

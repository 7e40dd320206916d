package auth

// Stats are numbers of an instance that show faults which nobody may have noticed. Except for
// EventsWaiting, each one counts from the start of the instance, and stays zero on an instance without
// faults. docs/telemetry.md says what to do if one of them grows.
type Stats struct {
	// EventsWaiting is the number of events in the queue for Config.OnEvent. Events that are stored in the
	// audit trail do not wait in the queue.
	EventsWaiting int

	// EventsLost counts events that OnEvent has not handled and never gets again: the queue was full, or
	// OnEvent panicked. For an event of the audit trail, it is the fifth panic that counts, and the trail
	// keeps the event.
	EventsLost int64

	// DeliveriesFailed counts the failed calls of the store that deliver events of the audit trail. Such
	// events are delivered later.
	DeliveriesFailed int64

	// LimiterFailures counts the failed calls of Config.Throttling.Limiter. The instance has counted these
	// attempts in its own memory.
	LimiterFailures int64

	// SlowHashesRefused counts attempts to sign in with an imported key that were refused because too many
	// slow hashes ran or waited: see CredentialConfig.MaxSlowHashes.
	SlowHashesRefused int64

	// DevicesRefused counts requests for the codes of a device, and user codes that people typed, that were
	// refused because all clients together had exceeded a limit: see [Service.StartDevice] and
	// [Service.ClaimDevice].
	DevicesRefused int64

	// FeedRestarts counts how often this instance has read the whole revocation feed again, because the
	// entry that it had read last no longer existed. This happens after the store was restored or has lost
	// commits, and on an instance that could not read the feed for a long time.
	FeedRestarts int64

	// UnknownKeyTokens counts tokens that name a signing key which this instance does not have. If the
	// instances have different signing keys, it grows with each request of some users. Anyone can make it
	// grow by sending such tokens.
	UnknownKeyTokens int64

	// UnopenedGitHubTokens counts reads of stored GitHub tokens that no sealing key of this instance
	// decrypts. The users of these tokens are not connected to GitHub.
	UnopenedGitHubTokens int64
}

// Stats returns the present numbers of this instance. It reads no store and takes no lock, so a host can
// call it often. It is safe for concurrent use.
func (s *Service) Stats() Stats {
	stats := Stats{
		EventsWaiting:    len(s.events.queue),
		EventsLost:       s.events.lost.Load(),
		DeliveriesFailed: s.events.failures.Failures(),
		LimiterFailures:  s.throttle.LimiterFailures(),
		DevicesRefused:   s.throttle.SharedRefusals(),
		UnknownKeyTokens: s.tokens.unknownKeys.Load(),
	}
	if s.credentials != nil {
		stats.SlowHashesRefused = s.credentials.slow.Refused()
	}
	if s.tokens.feed != nil {
		stats.FeedRestarts = s.tokens.feed.Restarts()
	}
	if s.github != nil {
		stats.UnopenedGitHubTokens = s.github.unopened.Failures()
	}
	return stats
}

// Package eventkind names the kinds of the events that package auth reports: see auth.Event. The page
// docs/events.md says when each kind occurs and which fields its events have.
package eventkind

// Kind is the kind of an event.
type Kind string

// The kinds of events.
const (
	SignedIn            Kind = "sign_in.accepted"
	NewClient           Kind = "sign_in.new_client"
	SignInRejected      Kind = "sign_in.rejected"
	SignInThrottled     Kind = "sign_in.throttled"
	TokenRejected       Kind = "token.rejected"
	TokenDelegated      Kind = "token.delegated"
	AccessRefused       Kind = "access.refused"
	SessionRevoked      Kind = "session.revoked"
	UserSessionsRevoked Kind = "user.sessions_revoked"
	KeyIssued           Kind = "key.issued"
	KeyImported         Kind = "key.imported"
	KeyRotated          Kind = "key.rotated"
	KeyChanged          Kind = "key.changed"
	KeyRevoked          Kind = "key.revoked"
	KeyLeaked           Kind = "key.leaked"
	KeyExpiring         Kind = "key.expiring"
	UserCreated         Kind = "user.created"
	UsersImported       Kind = "user.imported"
	UserChanged         Kind = "user.changed"
	UserReset           Kind = "user.reset"
	UserDeleted         Kind = "user.deleted"
	Bootstrapped        Kind = "super_user.bootstrapped"
	SuperUserRecovered  Kind = "super_user.recovered"
	DeviceApproved      Kind = "device.approved"
	DeviceDenied        Kind = "device.denied"
	GitHubConnected     Kind = "github.connected"
	GitHubRejected      Kind = "github.rejected"
	GitHubDisconnected  Kind = "github.disconnected"
	GitHubUnlinked      Kind = "github.unlinked"
	GitHubRefreshed     Kind = "github.refreshed"
	GitHubLost          Kind = "github.lost"
	GitHubForgotten     Kind = "github.forgotten"
	EverybodyRevoked    Kind = "everybody.sessions_revoked"
	CommitsLost         Kind = "store.commits_lost"
	SigningKeysReplaced Kind = "signing_keys.replaced"
)

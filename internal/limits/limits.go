// Package limits defines the maximum lengths of the values that a store keeps in its records.
// Package auth validates records against these lengths. Package storetest tests that a store keeps
// values of the maximum length.
package limits

// The maximum lengths of the fields of records, in bytes.
const (
	ID         = 64  // a user's or a session's ID, a token's Version, a used state
	AccessKey  = 128 // an access key's ID
	Hash       = 255 // an access key's Hash and PreviousHash
	Username   = 128
	Email      = 254
	Label      = 256
	UserAgent  = 256
	Address    = 64
	GitHubHost = 253
	GitHubText = 512  // a link's Login, Name and AvatarURL, a token's Scopes
	Sealed     = 4096 // a token's Sealed
	Reason     = 512  // an event's Reason
	Audiences  = 900  // all audiences of a service user
)

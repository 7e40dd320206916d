package storekit

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"

	"github.com/sallyport-go/auth"
)

// GitHubState is the stored state of a GitHub account and of the user who signs in with it
// or connects it. Before a store reads the state, it takes all locks that the change needs.
type GitHubState struct {
	// LinkedTo is the ID of the user to whom the account is linked. Empty means none.
	LinkedTo string

	// RememberedFor is the ID of the user for whom the store remembers the account. This is the
	// user to whom the account was last linked. Empty means none. See [auth.GitHubStore.SignInGitHub].
	RememberedFor string

	// GrantSpent means that a sign-in with the account can no longer make a user a super user: see
	// [auth.GitHubStore.SignInGitHub].
	GrantSpent bool

	// UserIsService is true if the user is a service user. It is false if the store keeps no users.
	UserIsService bool

	// UserAccount is the account to which the user is linked at the same GitHub host. Zero means
	// none.
	UserAccount auth.GitHubAccount

	// TokenVersion is the Version of the user's token for this GitHub host. Empty means that there
	// is no token.
	TokenVersion string
}

// SignInGitHub returns an error if a store must not write the sign-in. [auth.GitHubStore.SignInGitHub] calls
// it. The state argument is what the store has read about the GitHub account and the user of the Link. The
// hasUsers argument says whether the store keeps users.
//
// It returns ErrServiceUser if the user is a service user. It returns ErrGitHubNotAllowed if the state
// has a RememberedFor but no LinkedTo: the account was linked before and has been unlinked. In the
// following cases, it returns ErrChanged, and the caller must read the link and the token again:
//
//   - The account is linked to another user.
//   - The account is linked, and there is a NewUser.
//   - The account is not linked, there is no NewUser, and the store keeps users.
//   - The account is not linked, and the user of the Link is linked to another account of the
//     GitHub host.
//   - There is a Token, and the Version of the stored token is not TokenVersion.
func SignInGitHub(signIn auth.GitHubSignInWrite, state GitHubState, hasUsers bool) error {
	switch {
	case state.UserIsService:
		return fmt.Errorf("auth: signing in with GitHub: %w", auth.ErrServiceUser)
	case state.LinkedTo == "" && state.RememberedFor != "":
		return fmt.Errorf("auth: the GitHub account was unlinked: %w", auth.ErrGitHubNotAllowed)
	case signIn.NewUser != nil && state.LinkedTo != "",
		signIn.NewUser == nil && hasUsers && state.LinkedTo == "",
		state.LinkedTo != "" && state.LinkedTo != signIn.Link.UserID,
		state.LinkedTo == "" && state.UserAccount != auth.GitHubAccount{}:
		return fmt.Errorf("auth: link of the GitHub account: %w", auth.ErrChanged)
	case signIn.Token != nil && signIn.TokenVersion != state.TokenVersion:
		return fmt.Errorf("auth: GitHub token: %w", auth.ErrChanged)
	}
	return nil
}

// ConnectGitHub returns an error if a store must not write the connection. [auth.GitHubStore.ConnectGitHub]
// calls it. The state argument is what the store has read about the GitHub account and the user of the Link.
//
// It returns ErrChanged if the Version of the stored token is not TokenVersion, and ErrServiceUser if the
// user is a service user. It returns ErrExists in two cases:
//
//   - The account is linked to another user, or the RememberedFor of the state is another user.
//   - The user is linked to another account of the GitHub host.
func ConnectGitHub(connect auth.GitHubConnectWrite, state GitHubState) error {
	isAnother := func(userID string) bool { return userID != "" && userID != connect.Link.UserID }
	switch {
	case state.UserIsService:
		return fmt.Errorf("auth: connecting a GitHub account: %w", auth.ErrServiceUser)
	case isAnother(state.LinkedTo), isAnother(state.RememberedFor),
		state.UserAccount != auth.GitHubAccount{} && state.UserAccount != connect.Link.Account:
		return fmt.Errorf("auth: link of the GitHub account, or of the user: %w", auth.ErrExists)
	case connect.TokenVersion != state.TokenVersion:
		return fmt.Errorf("auth: GitHub token: %w", auth.ErrChanged)
	}
	return nil
}

// GitHubDigest returns a text that a store keeps in place of the account after it has pruned the account: see
// [auth.GitHubStore.PruneGitHubAccounts]. The account is not readable in the text. But anybody who computes
// the digests of all numbers finds the account, so the text is no protection against an attacker.
func GitHubDigest(account auth.GitHubAccount) string {
	text := "sallyport github account\x00" + account.Host + "\x00" + strconv.FormatInt(account.ID, 10)
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

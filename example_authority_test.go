package auth_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log"

	"github.com/sallyport-go/auth"
)

// A caller starts a job that continues after the request. At its end, the job issues an access key.
// If the caller's session has been revoked meanwhile, the store refuses the change.
func ExampleAuthority() {
	svc, _, err := newAPI([]byte(rand.Text() + rand.Text()))
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	made, err := svc.Register(ctx, auth.ByHost("sign-up page"), auth.UserParams{Username: "alice"})
	if err != nil {
		log.Fatal(err)
	}
	token, err := svc.SignIn(ctx, made.User.ID, auth.LoginOptions{})
	if err != nil {
		log.Fatal(err)
	}
	caller, err := svc.Tokens().Verify(ctx, token.Bearer.Reveal())
	if err != nil {
		log.Fatal(err)
	}

	finishJob := func() error {
		_, err := svc.Credentials().Issue(ctx, caller.Authority(), caller.UserID,
			auth.KeyOptions{Label: "export"})
		return err
	}
	fmt.Println(finishJob())
	if _, err := svc.Tokens().RevokeUser(ctx, auth.ByHost("security desk"), caller.UserID); err != nil {
		log.Fatal(err)
	}
	fmt.Println(errors.Is(finishJob(), auth.ErrTokenRejected))
	// Output:
	// <nil>
	// true
}

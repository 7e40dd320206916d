package oauth_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"

	"golang.org/x/oauth2"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/memstore"
	"github.com/sallyport-go/auth/oauth"
)

// A command line signs a person in with two codes. In this example, the program approves itself. In a real
// one, the person types the user code into a page such as that of package console.
func Example_device() {
	ctx := context.Background()
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	defer server.Close()
	defer http.DefaultClient.CloseIdleConnections()
	_, private, _ := ed25519.GenerateKey(rand.Reader)
	signing, err := auth.NewEdDSAKey("", private)
	if err != nil {
		log.Fatal(err)
	}
	secret := make([]byte, 32)
	rand.Read(secret)
	sealing, err := auth.NewSymmetricKey("s1", secret)
	if err != nil {
		log.Fatal(err)
	}
	svc, err := auth.New(memstore.New(), auth.Config{
		Issuer: server.URL, PublicURL: server.URL, SigningKeys: []auth.SigningKey{signing},
		SealingKeys: []auth.SymmetricKey{sealing}, BrowserSessions: &auth.BrowserSessions{},
		Tokens:  auth.TokenConfig{Scopes: []string{"reports:read"}},
		Proxies: auth.NoProxies(), Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		log.Fatal(err)
	}
	oauthServer, err := oauth.New(svc, oauth.Config{
		DeviceClients: []oauth.DeviceClient{
			{ID: "cli", Name: "The command line", Scopes: []string{"reports:read"}},
		},
		DevicePage: server.URL + "/console/device",
	})
	if err != nil {
		log.Fatal(err)
	}
	oauthServer.Mount(mux)

	cfg := oauth2.Config{ClientID: "cli", Scopes: []string{"reports:read"}, Endpoint: oauth2.Endpoint{
		DeviceAuthURL: server.URL + "/auth/device", TokenURL: server.URL + "/auth/token",
		AuthStyle: oauth2.AuthStyleInParams}}
	codes, err := cfg.DeviceAuth(ctx)
	if err != nil {
		log.Fatal(err)
	}

	ada, err := svc.Register(ctx, auth.ByHost("example"), auth.UserParams{Username: "ada"})
	if err != nil {
		log.Fatal(err)
	}
	session, err := svc.SignIn(ctx, ada.User.ID, auth.LoginOptions{})
	if err != nil {
		log.Fatal(err)
	}
	by := auth.Authority{SessionID: session.Session.ID, UserID: ada.User.ID}
	device, err := svc.ClaimDevice(ctx, by, codes.UserCode)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(device.ClientID, "asks for", device.Scopes)
	if _, err := svc.ApproveDevice(ctx, by, codes.UserCode); err != nil {
		log.Fatal(err)
	}

	codes.Interval = 1 // second: the person has decided already
	token, err := cfg.DeviceAccessToken(ctx, codes)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(token.TokenType, token.Extra("scope"))
	// Output:
	// cli asks for reports:read
	// Bearer reports:read
}

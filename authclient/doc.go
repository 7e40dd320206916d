// Package authclient is a client of a service that uses Sallyport. It signs in with an access key, keeps
// the token fresh, and sends it with the requests to this service only. The package is for programs:
// services, command lines, CI jobs and agents.
//
//	client, err := authclient.New("https://api.example.com",
//		authclient.FromEnv("ACCESS_KEY", "ACCESS_SECRET"))
//	if err != nil {
//		return err
//	}
//	response, err := client.HTTP().Get("https://api.example.com/reports")
//
// [Client.HTTP] returns an [http.Client] for the host's own routes. The methods of a Client, such as
// [Client.CurrentUser] and [Client.CreateKey], make the documented calls for accounts and administration.
// [Client.TokenSource] is for libraries that want a token, such as gRPC. [Client.SignInSource] is for
// auth.RemoteVerifierConfig.TokenSource.
//
// A Client starts no goroutine.
package authclient

// Package interoptest tests the OAuth calls with clients that other people have written, as they are: the
// packages x/oauth2 and go-oidc for Go, and oauth4webapi and openid-client for JavaScript. The package is a
// separate module, so that importers of the library do not get the dependencies of the package.
//
// The JavaScript clients need Node.js, and npm, which downloads them. The file testdata/package-lock.json
// fixes their versions and their checksums.
package interoptest

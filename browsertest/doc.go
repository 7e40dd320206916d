// Package browsertest tests the quickstart in a browser, as a person uses it, because only a
// browser tests the page, the cookies and the redirects. It is a separate module, so that importers
// of the library do not get its dependencies.
//
// The tests need Chromium. If AUTH_SCREENSHOTS names a directory, they also save screenshots there.
// They build the quickstart, which the test cache of go test does not notice, so run them with
// -count=1 after a change of the quickstart.
package browsertest

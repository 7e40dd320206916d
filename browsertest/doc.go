// Package browsertest tests the quickstart in a browser, because only a browser tests the page, the
// cookies and the redirects as a person uses them. It is a separate module, so that importers of
// the library do not get its dependencies.
//
// The tests need Chromium. If AUTH_SCREENSHOTS names a directory, they also save screenshots there.
// The tests build the quickstart themselves, so the test cache of go test does not notice a change
// of the quickstart. Run the tests with -count=1 after such a change.
package browsertest

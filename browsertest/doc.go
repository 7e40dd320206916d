// Package browsertest tests the console and the quickstart in a browser, as a person uses them: the
// pages, the cookies and the redirects. The package is a separate module, so that importers of the
// library do not get the dependencies of the package.
//
// The tests need Chromium, and npm for axe-core. If AUTH_SCREENSHOTS names a directory, the tests save
// screenshots there. After a change of the quickstart, run the tests with -count=1. The test cache does not
// notice such a change, because the tests build the quickstart themselves.
package browsertest

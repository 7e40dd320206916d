// Host imports what a host imports: the root package and sqlstore. modules.txt and the SBOM list the modules
// that this program compiles.
package main

import (
	_ "github.com/sallyport-go/auth"
	_ "github.com/sallyport-go/auth/sqlstore"
)

func main() {}

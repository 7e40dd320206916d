package memstore_test

import (
	"testing"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/memstore"
	"github.com/sallyport-go/auth/storetest"
)

func TestContract(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(*testing.T) auth.Store { return memstore.New() })
}

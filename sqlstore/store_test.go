package sqlstore_test

import (
	"testing"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/storetest"
)

func TestStoreInAFileKeepsTheContract(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) auth.Store { return mustOpen(t, openDB(t, newFile(t), impatient)) })
}

func TestStoreInMemoryKeepsTheContract(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) auth.Store { return mustOpen(t, openMemory(t, nil)) })
}

package seal_test

import "testing"

// BenchmarkSealAndOpen measures a token of 1 KiB, about as long as the content of a session cookie.
func BenchmarkSealAndOpen(b *testing.B) {
	s := newSealer(b, "cookie", newKey("k1"))
	plain := make([]byte, 1024)
	sealed := s.Seal(plain, "context")
	b.Run("seal", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			s.Seal(plain, "context")
		}
	})
	b.Run("open", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			s.Open(sealed, "context")
		}
	})
}

package archive

import (
	"io"
	"testing"
)

// BenchmarkFirst archives 10,000 files of 140 MB with nothing cached.
func BenchmarkFirst(b *testing.B) {
	tree := monorepo(10_000, 14_000)
	for b.Loop() {
		sum, err := NewBuilder(Options{Workers: 1}).Write(b.Context(), io.Discard, tree, all)
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(sum.Bytes)
	}
	b.ReportAllocs()
}

// BenchmarkOneChanged archives the same after one file has changed.
func BenchmarkOneChanged(b *testing.B) {
	files := monorepoFiles(10_000, 14_000)
	builder := NewBuilder(Options{Members: members(b, 0)})
	write(b, builder, newTree(files), all)
	var trees []*memTree
	for i := range 8 {
		files["teams/team-050/app-05/file-5.yaml"] = text(uint64(1e6+i), 9_000)
		trees = append(trees, newTree(files))
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; b.Loop(); i++ {
		if _, err := builder.Write(b.Context(), io.Discard, trees[i%len(trees)], all); err != nil {
			b.Fatal(err)
		}
	}
}

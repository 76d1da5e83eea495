//go:build unix

package store

import (
	"io/fs"
	"syscall"
)

// fileID tells files apart, and a file from what it was before it was written to.
type fileID struct {
	device, inode uint64
	size, mtime   int64
}

func idOf(info fs.FileInfo) fileID {
	id := fileID{size: info.Size(), mtime: info.ModTime().UnixNano()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		id.device, id.inode = uint64(st.Dev), uint64(st.Ino) //nolint:unconvert // types differ among systems
	}
	return id
}

// links returns the number of names that a file has.
func links(info fs.FileInfo) uint64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(st.Nlink) //nolint:unconvert // types differ among systems
	}
	return 2
}

//go:build !linux

package weights

import (
	"io/fs"
	"os"
)

type stamp struct {
	dev, ino     uint64
	size         int64
	mtime, ctime int64 // ns
}

// stampOf knows size and time only: boxes, and with them the main job, exist
// on Linux only.
func stampOf(fi fs.FileInfo) stamp {
	return stamp{size: fi.Size(), mtime: fi.ModTime().UnixNano()}
}

const openFlags = os.O_RDONLY

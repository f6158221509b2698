package store

import (
	"fmt"
	"syscall"
)

// networkFS are file systems on which a lock may hold for one machine only and on which a mapped file may not show what was
// written; by their magic number, statfs(2). An overlay is as good as the file system below it, and is taken.
var networkFS = map[uint32]string{
	0x6969:     "nfs",
	0x517B:     "smb",
	0xFF534D42: "cifs",
	0xFE534D42: "smb2",
	0x65735546: "fuse",
	0x01021997: "9p",
	0x5346414F: "afs",
	0x73757245: "coda",
	0x00C36400: "ceph",
	0x47504653: "gpfs",
	0x0BD00BD0: "lustre",
}

// NetworkFSError: the store would be on a network file system.
type NetworkFSError struct{ Dir, Kind string }

func (e *NetworkFSError) Error() string {
	return fmt.Sprintf("%s is on a network file system (%s), where locks and mapped files are not to be relied on: "+
		"set data_dir to a local disk, or take the risk with --allow-network-fs", e.Dir, e.Kind)
}

func fsMagic(dir string) (uint32, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return uint32(st.Type), nil
}

func refuseNetworkFS(dir string, o Options) error {
	magic, err := o.magic(dir)
	if err != nil || o.AllowNetworkFS {
		return err
	}
	if kind, ok := networkFS[magic]; ok {
		return &NetworkFSError{Dir: dir, Kind: kind}
	}
	return nil
}

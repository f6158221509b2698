package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math/bits"
	"os"
	"slices"
)

// A database that bbolt maps must be whole: a page beyond the end of the file ends the process with a signal that can't be
// caught, and a reference that leads in a circle is followed for ever. So everything that bbolt would trust is read
// before, with pread: the headers here, the tree in tree.go.
//
// The layout is that of bbolt v1 (internal/common: page.go, meta.go, inode.go), in the machine's byte order.
const (
	pageHead   = 16 // id u64, flags u16, count u16, overflow u32
	elementLen = 16 // of a leaf: flags, pos, ksize, vsize u32; of a branch: pos, ksize u32, pgid u64
	bucketHead = 16 // root u64, sequence u64
	headerLen  = 64 // of the database's header, behind the head of its page

	flagBranch = 0x01
	flagLeaf   = 0x02
	flagHeader = 0x04

	headerMagic   = 0xED0CDAED
	headerVersion = 2
)

// header is one of a database's two headers: the state of the tree after one transaction.
type header struct {
	pageSize int64
	root     uint64
	pages    uint64 // how many have ever been used
	txid     uint64
	odd      bool // the page that it stands in says that it is another: nobody reads that, and the next transaction but one puts it right
}

var order = binary.NativeEndian

func readHeader(f io.ReaderAt, at int64) (header, error) {
	page := make([]byte, pageHead+headerLen)
	if _, err := f.ReadAt(page, at); errors.Is(err, io.EOF) {
		return header{}, errors.New("the file ends before it")
	} else if err != nil {
		return header{}, err
	}
	b := page[pageHead:]
	sum := fnv.New64a()
	sum.Write(b[:56])
	h := header{pageSize: int64(order.Uint32(b[8:])), root: order.Uint64(b[16:]), pages: order.Uint64(b[40:]), txid: order.Uint64(b[48:])}
	switch {
	case order.Uint32(b) != headerMagic:
		return header{}, errors.New("it is no header of a store")
	case order.Uint64(b[56:]) != sum.Sum64():
		return header{}, errors.New("its checksum is wrong")
	case order.Uint32(b[4:]) != headerVersion:
		return header{}, fmt.Errorf("it is of version %d of the database format", order.Uint32(b[4:]))
	case h.pageSize < 1<<9 || h.pageSize > 1<<16 || bits.OnesCount64(uint64(h.pageSize)) != 1 || h.root < 2 || h.root >= h.pages || h.pages > 1<<40:
		return header{}, errors.New("its numbers can't be")
	}
	h.odd = order.Uint16(page[8:]) != flagHeader || order.Uint64(page) != uint64(at/h.pageSize)
	return h, nil
}

// preflight is what a look at a database without mapping it found.
type preflight struct {
	size    int64
	headers []header // the readable ones, newest first
	warning string   // what is wrong and stands in nobody's way
}

// inspect reads both headers and compares the file's length with what the newest says. Its error says what keeps the file from
// being opened; the headers stand in the answer all the same.
func inspect(f *os.File) (preflight, error) {
	info, err := f.Stat()
	if err != nil {
		return preflight{}, err
	}
	p := preflight{size: info.Size()}
	if p.size == 0 {
		return p, errEmpty
	}
	first, errFirst := readHeader(f, 0)
	if errFirst == nil {
		p.headers = append(p.headers, first)
	}
	// The second stands in the second page. Without the first nobody says where that is.
	var second header
	errSecond := errors.New("it was not found")
	for at := int64(1 << 9); at <= 1<<16; at <<= 1 {
		if errFirst == nil && at != first.pageSize {
			continue
		}
		h, err := readHeader(f, at)
		if err == nil && h.pageSize != at {
			err = errors.New("it is not where it says")
		}
		if second, errSecond = h, err; err == nil {
			break
		}
	}
	if errSecond == nil {
		p.headers = append(p.headers, second)
	}
	switch len(p.headers) {
	case 0:
		return p, fmt.Errorf("neither of its two headers can be read: of the first, %w", errFirst)
	case 1:
		p.warning = "one of its two headers can't be read, so the other is used, and the next transaction writes the first anew: " +
			"if the other was the older one, the last transaction before is lost"
	default:
		if second.txid > first.txid {
			p.headers[0], p.headers[1] = second, first
		}
	}
	if p.warning == "" && slices.ContainsFunc(p.headers, func(h header) bool { return h.odd }) {
		p.warning = "the page of one of its two headers is not marked as one, which nobody reads; the next transactions write it anew"
	}
	if h := p.headers[0]; p.size < int64(h.pages)*h.pageSize {
		return p, fmt.Errorf("it is cut off: the file has %d bytes, its header says %d", p.size, int64(h.pages)*h.pageSize)
	}
	return p, nil
}

var errEmpty = errors.New("it is empty")

// examine reads everything that bbolt would trust, and nothing through a map.
func examine(f *os.File) (preflight, error) {
	p, err := inspect(f)
	if err != nil {
		return p, err
	}
	w := newTree(f, p.headers[0], p.size)
	w.firstOnly = true
	outlined(w, nil)
	if len(w.damage) > 0 {
		return p, w.damage[0]
	}
	return p, nil
}

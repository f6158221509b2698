package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"tidings/event"
)

// sizeHeader tells how many bytes of a backup come: one that was cut off is recognised, over a socket or in memory.
const sizeHeader = "Tidings-Size"

// backup streams the store to who asked, who writes it: the daemon needs no right to any directory of theirs.
func (s *Server) backup(w http.ResponseWriter, r *http.Request) {
	out := &patient{w: w, rc: http.NewResponseController(w)}
	began := time.Now()
	err := s.Store.Backup(r.Context(), out, func(size int64) error {
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set(sizeHeader, strconv.FormatInt(size, 10))
		w.WriteHeader(http.StatusOK)
		out.begun = true
		return nil
	})
	switch {
	case err == nil:
		s.log().Info("a backup of the store was sent", "bytes", out.n, "took", round(time.Since(began)))
	case !out.begun:
		s.answer(w, nil, err)
	default:
		s.log().Warn("a backup of the store was cut off", "bytes", out.n, "error", oneLine(err))
		panic(http.ErrAbortHandler) // the status was sent: only hanging up is left to tell it
	}
}

// patient gives a receiver a time limit for each write instead of one for all.
type patient struct {
	w     http.ResponseWriter
	rc    *http.ResponseController
	begun bool
	n     int64
}

func (p *patient) Write(b []byte) (int, error) {
	_ = p.rc.SetWriteDeadline(time.Now().Add(writeTimeout)) // in memory there is none
	n, err := p.w.Write(b)
	p.n += int64(n)
	return n, err
}

func (s *Server) compact(w http.ResponseWriter, r *http.Request) (any, error) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Time{}) // it takes the time that it takes
	done, err := s.Store.Compact(r.Context())
	if err == nil {
		s.log().Info("the store was compacted on a person's word", "before", done.Before, "after", done.After, "took", round(done.Took))
	}
	return done, err
}

// Compact gives free space of the store's file back.
func (c *Client) Compact(ctx context.Context) (event.Compacted, error) {
	return post[event.Compacted](ctx, c, "/v1/store/compact", nil)
}

// Backup writes a backup of the store to what open returns, once it is known how many bytes come.
func (c *Client) Backup(ctx context.Context, open func(size int64) (io.Writer, error)) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+localHost+"/v1/store/backup", nil)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return c.failed(ctx, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
		if err != nil {
			return c.failed(ctx, err)
		}
		return c.refused(resp.Status, text)
	}
	size, err := strconv.ParseInt(resp.Header.Get(sizeHeader), 10, 64)
	if err != nil {
		return fmt.Errorf("%s did not say how large the backup is: is it another version?", c.where)
	}
	w, err := open(size)
	if err != nil {
		return err
	}
	n, err := io.Copy(w, resp.Body)
	if err == nil && n != size {
		err = io.ErrUnexpectedEOF
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("the backup was cut off after %d of %d bytes: try again", n, size)
	}
	return err
}

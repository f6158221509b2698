package store_test

import (
	"tidings/admin"
	"tidings/dispatch"
	"tidings/poller"
	"tidings/store"
)

var (
	_ poller.Store   = (*store.Store)(nil)
	_ dispatch.Queue = (*store.Store)(nil)
	_ admin.Store    = (*store.Store)(nil)
)

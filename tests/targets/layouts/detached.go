package main

import "context"

// detached keeps the standard library's own context types, whatever this version calls them.
func detached(ctx context.Context) {
	keep(context.WithoutCancel(ctx))
	cancelled, cancel := context.WithCancelCause(ctx)
	cancel(context.Canceled)
	keep(cancelled)
	stop := context.AfterFunc(cancelled, func() {})
	stop()
}

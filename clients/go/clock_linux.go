package lockside

import (
	"syscall"
	"time"
	"unsafe"
)

// The clock of package time stops while the machine sleeps, and leases do not.
const clockBoottime = 7

var hasBoottime = func() bool {
	_, ok := boottime()
	return ok
}()

func now() moment {
	if hasBoottime {
		if since, ok := boottime(); ok {
			return since
		}
	}
	return moment(time.Since(start))
}

func boottime() (moment, bool) {
	var spec syscall.Timespec
	_, _, failure := syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, clockBoottime, uintptr(unsafe.Pointer(&spec)), 0)
	return moment(spec.Nano()), failure == 0
}

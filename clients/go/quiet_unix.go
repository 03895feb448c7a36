//go:build unix

package lockside

import "syscall"

// isQuiet tells whether nothing lies unread in a socket, and neither its end nor an error.
func isQuiet(socket syscall.RawConn) bool {
	isQuiet := false
	err := socket.Control(func(descriptor uintptr) {
		var one [1]byte
		for {
			// The descriptor does not block: all sockets of package net are so.
			_, _, failure := syscall.Recvfrom(int(descriptor), one[:], syscall.MSG_PEEK)
			if failure != syscall.EINTR {
				isQuiet = failure == syscall.EAGAIN || failure == syscall.EWOULDBLOCK
				return
			}
		}
	})
	return err == nil && isQuiet
}

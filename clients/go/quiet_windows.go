package lockside

import (
	"syscall"
	"unsafe"
)

const ioctlUnread = 0x4004667f // FIONREAD

// isQuiet tells whether nothing lies unread in a socket.
func isQuiet(socket syscall.RawConn) bool {
	isQuiet := false
	err := socket.Control(func(descriptor uintptr) {
		var unread, size uint32
		failure := syscall.WSAIoctl(syscall.Handle(descriptor), ioctlUnread, nil, 0,
			(*byte)(unsafe.Pointer(&unread)), uint32(unsafe.Sizeof(unread)), &size, nil, 0)
		isQuiet = failure == nil && unread == 0
	})
	return err == nil && isQuiet
}

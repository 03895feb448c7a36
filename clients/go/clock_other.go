//go:build !linux

package lockside

import "time"

func now() moment {
	return moment(time.Since(start))
}

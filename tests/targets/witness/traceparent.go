package witness

import (
	"regexp"
	"strings"
)

// Parent is what a valid traceparent says.
type Parent struct {
	TraceID string `json:"trace_id"`
	SpanID  string `json:"span_id"`
	Flags   string `json:"flags"`
}

// W3C Trace Context, section 3.2.2: version 00 ends with the flags; later ones may go on after a dash.
var traceparent = regexp.MustCompile(`^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$`)

// ParseTraceparent is nil unless values are one valid traceparent.
func ParseTraceparent(values []string) *Parent {
	if len(values) != 1 {
		return nil
	}
	parts := traceparent.FindStringSubmatch(values[0])
	if parts == nil || parts[1] == "ff" || parts[1] == "00" && parts[5] != "" ||
		strings.Trim(parts[2], "0") == "" || strings.Trim(parts[3], "0") == "" {
		return nil
	}
	return &Parent{parts[2], parts[3], parts[4]}
}

package sinks

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"tidings/event"
)

// header sets what the contract says.
func (h *HTTP) header(req *http.Request, d event.Delivery, body []byte) {
	set := req.Header.Set
	for name, value := range h.o.Headers {
		set(name, value.Reveal())
	}
	set("Content-Type", "application/json")
	set("User-Agent", "tidings/"+h.o.Version)
	set("Traceparent", traceparent(d.Event))
	id, at := webhookID(d.Event), strconv.FormatInt(time.Now().Unix(), 10)
	set("Webhook-Id", id)
	set("Webhook-Timestamp", at)
	if len(h.keys) > 0 {
		set("Webhook-Signature", sign(h.keys, id, at, body))
	}
	set("Tidings-Source", headerText(d.Event.Source))
	set("Tidings-Event-Id", headerText(d.Event.ID))
	set("Tidings-Event-Type", headerText(d.Event.Type))
	set("Tidings-Attempt", strconv.Itoa(d.Attempts+1))
}

// sign makes one v1 signature a key.
func sign(keys [][]byte, id, at string, body []byte) string {
	var signatures []string
	for _, key := range keys {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(id + "." + at + "."))
		mac.Write(body)
		signatures = append(signatures, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	return strings.Join(signatures, " ")
}

// traceparent begins a trace (https://www.w3.org/TR/trace-context/) that is the same for all attempts of an event at all
// sinks. It is marked as sampled: else receivers that go by their caller would record nothing.
func traceparent(e event.Event) string {
	var span [8]byte
	_, _ = rand.Read(span[:]) // never fails
	trace := identity(e)
	return "00-" + hex.EncodeToString(trace[:16]) + "-" + hex.EncodeToString(span[:]) + "-01"
}

// checkHeader refuses what can't be a header (RFC 9110 section 5), and those that are ours to set.
func checkHeader(name, value string) error {
	token := func(r rune) bool {
		return r < 0x80 && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("!#$%&'*+-.^_`|~", r))
	}
	if name == "" || strings.ContainsFunc(name, func(r rune) bool { return !token(r) }) {
		return fmt.Errorf("%q can't be the name of a header", name)
	}
	if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
		return fmt.Errorf("the value of header %s holds a control character, a line break perhaps", name)
	}
	lower := strings.ToLower(name)
	if strings.HasPrefix(lower, "webhook-") || strings.HasPrefix(lower, "tidings-") ||
		slices.Contains([]string{"content-type", "user-agent", "traceparent", "host", "content-length", "transfer-encoding", "connection", "trailer", "upgrade"}, lower) {
		return fmt.Errorf("header %s is set by tidings itself: leave it out", name)
	}
	return nil
}

// signingKey reads a Standard Webhooks secret. Its errors do not show it.
func signingKey(secret event.Secret) ([]byte, error) {
	text, found := strings.CutPrefix(secret.Reveal(), "whsec_")
	if !found {
		return nil, errors.New(`a signing secret begins with "whsec_"`)
	}
	key, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, errors.New(`a signing secret is "whsec_" and base64; this one is not base64`)
	}
	if len(key) < 24 || len(key) > 64 {
		return nil, fmt.Errorf("a signing secret holds 24 to 64 bytes; this one holds %d", len(key))
	}
	return key, nil
}

// retryAfter reads the header (RFC 9110 section 10.2.3), at most 24 h; a date is taken by the server's own clock.
func retryAfter(h http.Header) time.Duration {
	text := strings.TrimSpace(h.Get("Retry-After"))
	if seconds, err := strconv.ParseFloat(text, 64); err == nil && seconds >= 0 {
		return time.Duration(min(seconds, longest.Seconds()) * float64(time.Second))
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	now, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		now = time.Now()
	}
	return min(max(0, at.Sub(now)), longest)
}

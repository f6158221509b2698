package simulator

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// login serves GET /login: HTTP Basic with the account's id and key gives a bearer token
// (https://docs.flatpeak.com/api-reference/login/create-a-bearer-token).
func (f *Flatpeak) login(w http.ResponseWriter, r *http.Request) {
	account, key, _ := r.BasicAuth()
	good := account == f.accountID && key == f.key
	f.mu.Lock()
	if good {
		f.stats.Logins++
	} else {
		f.stats.Denied++
	}
	number := f.stats.Logins
	f.mu.Unlock()
	if !good {
		f.refuse(w, http.StatusUnauthorized, "credentials_invalid", "Account ID or API key is wrong")
		return
	}
	now := f.now()
	f.send(w, styles[0].append(nil, object{
		{"bearer_token", f.token(number, now)}, {"expires_in", int(f.tokenLife / time.Second)}, {"live_mode", f.live},
	}, 0))
}

// authorized reports whether the request carries a token that is good, and answers 401 if not, or if that fault strikes.
func (f *Flatpeak) authorized(w http.ResponseWriter, r *http.Request) bool {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	return f.allowed(w, ok && f.tokenGood(token), "token_invalid", "The bearer token is missing, expired or unknown")
}

type tokenClaims struct {
	AccountID string `json:"account_id"`
	Number    int    `json:"jti"`
	Issued    int64  `json:"iat"`
	Expires   int64  `json:"exp"`
}

// token makes a JWT, so that nothing about tokens has to be kept.
func (f *Flatpeak) token(number int, now time.Time) string {
	claims, err := json.Marshal(tokenClaims{f.accountID, number, now.Unix(), now.Add(f.tokenLife).Unix()})
	if err != nil {
		panic(err) // a struct of numbers and text
	}
	enc := base64.RawURLEncoding
	text := enc.EncodeToString([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + enc.EncodeToString(claims)
	return text + "." + f.sign(text)
}

func (f *Flatpeak) sign(text string) string {
	mac := hmac.New(sha256.New, binary.BigEndian.AppendUint64(nil, f.seed))
	_, _ = fmt.Fprintf(mac, "%s\n%s\n%s", f.accountID, f.key, text)
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// tokenGood reports whether token was made here and is not expired.
func (f *Flatpeak) tokenGood(token string) bool {
	dot := strings.LastIndexByte(token, '.')
	if dot < 0 || !hmac.Equal([]byte(f.sign(token[:dot])), []byte(token[dot+1:])) {
		return false
	}
	_, middle, _ := strings.Cut(token[:dot], ".")
	raw, err := base64.RawURLEncoding.DecodeString(middle)
	var claims tokenClaims
	return err == nil && json.Unmarshal(raw, &claims) == nil && f.now().Unix() < claims.Expires
}

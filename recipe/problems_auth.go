package recipe

import (
	"maps"
	"slices"
	"strings"
)

func (c *check) auth(h *HTTP) {
	var set []string
	a := h.Auth
	if a.Bearer != "" {
		set = append(set, "bearer")
		c.template("auth.bearer", a.Bearer, "the token")
	}
	if a.Basic != nil {
		set = append(set, "basic")
		c.basic("auth.basic", a.Basic)
	}
	if a.Header != nil {
		set = append(set, "header")
		if !headerName.MatchString(a.Header.Name) {
			c.add("auth.header.name", "is %q, which can't be a header's name", a.Header.Name)
		}
		c.template("auth.header.value", a.Header.Value, "what the header has, such as the key")
	}
	if l := a.Login; l != nil {
		set = append(set, "login")
		c.words("auth.login.method", l.Method, "GET", "POST")
		c.further("auth.login.url", l.URL, h.URL, "the address of the login")
		if l.Basic != nil {
			c.basic("auth.login.basic", l.Basic)
		}
		if l.Token == "" {
			c.add("auth.login.token", "is missing; it is the path to the token in the login's answer, such as access_token")
		}
	}
	if a.OAuth2 != nil {
		set = append(set, "oauth2")
		c.oauth2("auth.oauth2", a.OAuth2)
	}
	if len(set) > 1 {
		c.add("auth", "has %s; give one of them", strings.Join(set, " and "))
	}
}

func (c *check) basic(path string, b *Basic) {
	c.template(path+".user", b.User, "the name of the user, or the key where that is one")
	c.template(path+".password", b.Password, "")
	if t, err := ParseTemplate(b.User); err == nil {
		literal, _ := t.Expand(func(string) (string, bool) { return "", true }) // every name has a text
		if strings.Contains(literal, ":") {
			c.add(path+".user", "has a colon, which a user's name can't have (RFC 7617); what follows it may be the password")
		}
	}
}

// oauth2 checks the client credentials grant. The token's address may be of another origin; it is the one that may.
func (c *check) oauth2(path string, o *OAuth2) {
	c.template(path+".token_url", o.TokenURL, "the address that gives tokens")
	c.address(path+".token_url", o.TokenURL)
	c.template(path+".client_id", o.ClientID, "the client's name at the OAuth2 server")
	c.template(path+".client_secret", o.ClientSecret, "the client's secret")
	for _, key := range slices.Sorted(maps.Keys(o.Params)) {
		c.template(path+".params."+key, o.Params[key], "")
		if slices.Contains([]string{"", "grant_type", "client_id", "client_secret", "scope"}, key) {
			c.add(path+".params."+key, "is a field that the grant itself sets; leave it out")
		}
	}
}

// Package recipe says how an API is polled, as data: where the list is, how to log in, what an item's id, type and time are,
// how pages follow each other and how a place is kept in it. Vendors are presets: recipes in YAML with parameters. The
// package holds the recipe's types and rules; package sources acts on them, package config reads them from a user's file.
//
// Strings marked as templates hold `{name}` for a parameter's value. A recipe never holds a secret: a secret is a
// parameter's value, put in when a request is made.
package recipe

// HTTP is the recipe for one JSON event list over HTTP.
type HTTP struct {
	URL      string            `yaml:"url"`                 // template; the origin that credentials go to
	Method   string            `yaml:"method,omitempty"`    // GET
	Query    map[string]string `yaml:"query,omitempty"`     // templates; a parameter that has no value leaves its key out
	Headers  map[string]string `yaml:"headers,omitempty"`   // templates; likewise
	Auth     Auth              `yaml:"auth,omitempty"`      //
	Items    string            `yaml:"items,omitempty"`     // gjson path to the array of items; empty: the response is the array
	ID       string            `yaml:"id,omitempty"`        // path into the item, or a template of paths such as "{id}@{updated}"; empty: a content hash
	Type     string            `yaml:"type,omitempty"`      // path into the item
	Time     string            `yaml:"time,omitempty"`      // path into the item
	Position string            `yaml:"position"`            // how a place is kept: head_walk
	Paging   Paging            `yaml:"paging,omitempty"`    //
	Errors   []ErrorRule       `yaml:"errors,omitempty"`    // answers that mean more than their status says; the first that matches counts
	FetchOne string            `yaml:"fetch_one,omitempty"` // template of the URL of one event, `{id}` in it; for looking at one again
}

// Auth is how a request proves who asks. At most one of its fields is set.
type Auth struct {
	Bearer string  `yaml:"bearer,omitempty"` // template of the token
	Basic  *Basic  `yaml:"basic,omitempty"`
	Header *Header `yaml:"header,omitempty"`
	Login  *Login  `yaml:"login,omitempty"`
}

// Basic is HTTP Basic authentication (RFC 7617).
type Basic struct {
	User     string `yaml:"user"`               // template
	Password string `yaml:"password,omitempty"` // template
}

// Header is a key in a header of the vendor's choosing.
type Header struct {
	Name  string `yaml:"name"`
	Value string `yaml:"value"` // template
}

// Login exchanges credentials for a bearer token that expires: asked for once for all who need it, renewed before it
// expires, and once more when the API answers 401.
type Login struct {
	Method    string `yaml:"method,omitempty"` // GET
	URL       string `yaml:"url"`              // template; of the same origin as the list
	Basic     *Basic `yaml:"basic,omitempty"`
	Token     string `yaml:"token"`                // path to the token in the answer
	ExpiresIn string `yaml:"expires_in,omitempty"` // path to its life in seconds; without it the token is used until a 401
}

// Paging is how the pages of one poll follow each other.
type Paging struct {
	Param  string `yaml:"param,omitempty"`  // query parameter that takes the cursor; empty: the list has one page
	Cursor string `yaml:"cursor,omitempty"` // "last_id": the id of the page's last item; else a path into the response
	More   string `yaml:"more,omitempty"`   // path to the boolean that says whether there are more pages; without it a page with a cursor and items has a next
	Limit  string `yaml:"limit,omitempty"`  // query parameter that takes the page's size
	Size   int    `yaml:"size,omitempty"`   // what is asked for with Limit
}

// ErrorRule gives an answer its meaning.
type ErrorRule struct {
	Status int    `yaml:"status"`
	Path   string `yaml:"path,omitempty"`   // path into the answer's body
	Equals string `yaml:"equals,omitempty"` // what stands there
	Means  string `yaml:"means"`            // refused: the account may not ask; limited: ask later; lost: the cursor is no longer known
}

// Preset is a vendor's API as a recipe with parameters.
type Preset struct {
	Name     string           `yaml:"name"`
	About    string           `yaml:"about"`    // one sentence
	Docs     string           `yaml:"docs"`     // where the vendor describes the API
	With     map[string]Param `yaml:"with"`     // what a user gives
	Identity string           `yaml:"identity"` // template of the parameters that make up the account; another identity is another source
	HTTP     HTTP             `yaml:"http"`
}

// Param is one thing that a preset asks for.
type Param struct {
	About    string `yaml:"about"`
	Required bool   `yaml:"required,omitempty"`
	Secret   bool   `yaml:"secret,omitempty"`
	Default  string `yaml:"default,omitempty"`
	Example  string `yaml:"example,omitempty"`
}

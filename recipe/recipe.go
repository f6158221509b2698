// Package recipe says how an API is polled, as data: where the list is, how to log in, what an item's id, type and time are,
// how pages follow each other and how a place is kept in it. Vendors are presets: recipes in YAML with parameters. The
// package holds the recipe's types and rules; package sources acts on them, package config reads them from a user's file.
//
// Strings marked as templates hold `{name}` for a parameter's value. A recipe never holds a secret: a secret is a
// parameter's value, put in when a request is made.
package recipe

// HTTP is the recipe for one JSON event list over HTTP.
type HTTP struct {
	URL      string            `yaml:"url"`                 // template; its origin is the one that credentials go to
	Method   string            `yaml:"method,omitempty"`    // GET
	Query    map[string]string `yaml:"query,omitempty"`     // templates; a parameter that has no value leaves its key out
	Headers  map[string]string `yaml:"headers,omitempty"`   // templates; likewise
	Body     string            `yaml:"body,omitempty"`      // template of a JSON body, for POST; a value stands in it as a JSON string
	Auth     Auth              `yaml:"auth,omitempty"`      //
	Items    string            `yaml:"items,omitempty"`     // gjson path to the array of items; empty: the response is the array
	Explode  string            `yaml:"explode,omitempty"`   // path to an array in the item: each of its elements is an event
	ID       string            `yaml:"id,omitempty"`        // path into the item, or a template such as "{id}@{updated}"; empty: a content hash
	Type     string            `yaml:"type,omitempty"`      // path into the item; a template such as "{object}.{action}"; "=word": that word
	Time     string            `yaml:"time,omitempty"`      // path into the item
	Zone     string            `yaml:"zone,omitempty"`      // of times that say none: UTC, or a name such as Europe/London
	Layout   string            `yaml:"layout,omitempty"`    // of times that are written unusually: Go's layout, or unix, unix_ms, unix_us, unix_ns
	Raw      string            `yaml:"raw,omitempty"`       // template of the event's body, as the vendor's webhook has it; empty: the item
	Position string            `yaml:"position"`            // how a place is kept: one of Positions
	Order    string            `yaml:"order,omitempty"`     // how the API lists: newest, oldest or none; empty: what the position needs
	First    map[string]string `yaml:"first,omitempty"`     // query of a list that is begun without a cursor: templates, {start} among them
	Paging   Paging            `yaml:"paging,omitempty"`    //
	Window   Window            `yaml:"window,omitempty"`    // time_window
	Ack      Ack               `yaml:"ack,omitempty"`       // ack
	Seek     Seek              `yaml:"seek,omitempty"`      // tail_cursor: how to get a cursor for a time
	Changes  Changes           `yaml:"changes,omitempty"`   // snapshot, and time_window over resources that change
	ForEach  *ForEach          `yaml:"for_each,omitempty"`  // the list is made of one list for each of these
	Limits   Limits            `yaml:"limits,omitempty"`    // what the API says and wants about how often it is asked
	Retain   string            `yaml:"retain,omitempty"`    // how long the API lists an event, such as 30d; empty: not known
	Overlap  string            `yaml:"overlap,omitempty"`   // how far back each poll looks again, where the source does not say; of several lists the longest counts
	Errors   []ErrorRule       `yaml:"errors,omitempty"`    // answers that mean more than their status says; the first that matches counts
	FetchOne string            `yaml:"fetch_one,omitempty"` // template of the URL of one event, `{id}` in it; for looking at one again
}

// Feed is one list of a source that has several. What it leaves out of Auth, Headers, Limits, Errors, Zone and Layout it takes from
// the recipe beside it, which has a URL for its origin's sake, and no position. Its name keeps its place: another name starts anew.
type Feed struct {
	Name string `yaml:"name"`
	HTTP `yaml:",inline"`
}

// Window is how a time_window is asked for: with since, and mostly until, in the request for every page.
type Window struct {
	In     string `yaml:"in,omitempty"`     // header: since and until are headers; empty: they stand where the paging's limit does
	Since  string `yaml:"since,omitempty"`  // query parameter that takes the beginning, inclusive
	Until  string `yaml:"until,omitempty"`  // query parameter that takes the end; without it the window is open
	Layout string `yaml:"layout,omitempty"` // Go's layout in UTC, or unix, unix_ms; RFC 3339. It is that of {start} too. What it cuts off is cut off downwards for since, upwards for until
	Lag    string `yaml:"lag,omitempty"`    // how far the end stands behind the server's clock, such as 1m
	Step   string `yaml:"step,omitempty"`   // the longest window that is asked for at once, such as 31d; empty: any
	Late   bool   `yaml:"late,omitempty"`   // an item may be of any time when it is listed first (data is filled in): new is what is not known
}

// Ack tells the API that events were taken in, after they were.
type Ack struct {
	Method string `yaml:"method,omitempty"` // POST
	URL    string `yaml:"url,omitempty"`    // template, `{id}` in it where each event is acknowledged by itself
	Body   string `yaml:"body,omitempty"`   // template of the JSON body: {id} is the event's id, {ids} the array of a page's ids, {cursor} the page's cursor
}

// Seek asks the API for a cursor that stands at a time.
type Seek struct {
	Method string `yaml:"method,omitempty"` // POST
	URL    string `yaml:"url,omitempty"`    // template
	Body   string `yaml:"body,omitempty"`   // template of a JSON body, {start} in it
	Cursor string `yaml:"cursor,omitempty"` // path to the cursor in the answer
}

// Changes makes events of resources: what is listed is a resource as it is now. Types are written as Type is; an empty one makes no events.
type Changes struct {
	Resource string   `yaml:"resource,omitempty"` // path, or template, of what identifies the resource whatever its version
	Created  string   `yaml:"created,omitempty"`  // type of the event when a resource is listed for the first time
	Updated  string   `yaml:"updated,omitempty"`  // type of the event when it has changed
	Deleted  string   `yaml:"deleted,omitempty"`  // snapshot: type of the event when it is listed no more
	Born     string   `yaml:"born,omitempty"`     // path to the time of its creation: one from before the window that is listed first was updated
	Ignore   []string `yaml:"ignore,omitempty"`   // top-level keys whose change alone is none
}

// ForEach lists values; the feed's list is that of the first value, then that of the second, and so on, in one walk.
type ForEach struct {
	URL    string            `yaml:"url"`              // template; of the same origin
	Query  map[string]string `yaml:"query,omitempty"`  // templates
	Items  string            `yaml:"items,omitempty"`  // path to the array; empty: the response is the array
	Value  string            `yaml:"value"`            // path into an item: the value
	As     string            `yaml:"as"`               // the name under which the feed's url, query and body use it: {as}
	Paging Paging            `yaml:"paging,omitempty"` //
}

// Limits is what an API says, in its own words, about how often it may be asked. Retry-After is always obeyed, and RateLimit-*
// (draft-ietf-httpapi-ratelimit-headers) and X-RateLimit-* where they are understood without more.
type Limits struct {
	Every      string  `yaml:"every,omitempty"`      // how often the API is polled by default, such as 15m
	Rate       float64 `yaml:"rate,omitempty"`       // requests a second that are not exceeded, whatever is polled with this credential
	Burst      int     `yaml:"burst,omitempty"`      // that many at once; 1
	Remaining  string  `yaml:"remaining,omitempty"`  // header: requests that are left; where it says 0, an answer 403 means limited
	Reset      string  `yaml:"reset,omitempty"`      // header: when there are more
	ResetIn    string  `yaml:"reset_in,omitempty"`   // unit of Reset: seconds, milliseconds (from now), epoch, epoch_ms or date
	Interval   string  `yaml:"interval,omitempty"`   // header: seconds until the next poll at the earliest, such as X-Poll-Interval
	Validators bool    `yaml:"validators,omitempty"` // ask with If-None-Match or If-Modified-Since, and take 304 for an answer
}

// Auth is how a request proves who asks. At most one of its fields is set.
type Auth struct {
	Bearer string  `yaml:"bearer,omitempty"` // template of the token
	Basic  *Basic  `yaml:"basic,omitempty"`
	Header *Header `yaml:"header,omitempty"`
	Login  *Login  `yaml:"login,omitempty"`
	OAuth2 *OAuth2 `yaml:"oauth2,omitempty"`
}

// OAuth2 is the client credentials grant (RFC 6749, 4.4).
type OAuth2 struct {
	TokenURL     string            `yaml:"token_url"` // template; the one address of another origin that the client's secret, and nothing else, is sent to
	ClientID     string            `yaml:"client_id"` // template
	ClientSecret string            `yaml:"client_secret"`
	Scopes       []string          `yaml:"scopes,omitempty"`
	Params       map[string]string `yaml:"params,omitempty"`  // templates of further form fields, such as audience
	InBody       bool              `yaml:"in_body,omitempty"` // the client's id and secret stand in the form, not in HTTP Basic
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

// Paging is how the pages of one poll follow each other. With tail_cursor its cursor is also the place that is kept.
type Paging struct {
	Param   string `yaml:"param,omitempty"`   // name of what takes the cursor; empty: the list has one page, unless In is path or url
	In      string `yaml:"in,omitempty"`      // where it goes: query (the default), body (Param is its path there, and limit, first and window are paths too), header, path ({cursor} in url), or url: the cursor is the next page's address
	Cursor  string `yaml:"cursor,omitempty"`  // last_id: the id of the page's last item; page or offset: a number that counts; link: the Link header's rel=next; else a path into the response (one of these words as a path has a backslash in front: \offset)
	Zero    bool   `yaml:"zero,omitempty"`    // page: they are counted from 0, not 1
	More    string `yaml:"more,omitempty"`    // path to the boolean that says whether there are more pages; without it a page with a cursor and items has a next
	Done    string `yaml:"done,omitempty"`    // the same the other way round: true at the end of the list
	Current string `yaml:"current,omitempty"` // page: path to the number of the page that was given; another than asked for is the end of the list
	Limit   string `yaml:"limit,omitempty"`   // query parameter that takes the page's size
	Size    int    `yaml:"size,omitempty"`    // what is asked for with Limit, or what a whole page has: a shorter one is the last where nothing else says so
}

// ErrorRule gives an answer its meaning.
type ErrorRule struct {
	Status  int    `yaml:"status"`
	Path    string `yaml:"path,omitempty"`    // path into the answer's body
	Equals  string `yaml:"equals,omitempty"`  // what stands there
	Missing bool   `yaml:"missing,omitempty"` // nothing, null or an empty text stands there
	Means   string `yaml:"means"`             // refused: the account may not ask; limited: ask later; lost: the cursor is no longer known; empty: nothing is there
}

// Preset is a vendor's API as a recipe with parameters.
type Preset struct {
	Name     string           `yaml:"name"`
	About    string           `yaml:"about"`    // one sentence
	Docs     string           `yaml:"docs"`     // where the vendor describes the API
	With     map[string]Param `yaml:"with"`     // what a user gives
	Identity string           `yaml:"identity"` // template of the parameters that make up the account; another identity is another source
	HTTP     HTTP             `yaml:"http"`
	Feeds    []Feed           `yaml:"feeds,omitempty"` // where the source has several lists
}

// Param is one thing that a preset asks for.
type Param struct {
	About    string `yaml:"about"`
	Required bool   `yaml:"required,omitempty"`
	Secret   bool   `yaml:"secret,omitempty"`
	Default  string `yaml:"default,omitempty"`
	Example  string `yaml:"example,omitempty"`
}

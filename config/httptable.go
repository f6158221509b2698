package config

import "tidings/recipe"

// httpTable is the recipe's format (recipe.HTTP). Templates in it get their values into s.Values.
func (d *decoder) httpTable(h *recipe.HTTP, s *Source) table {
	return table{what: "an http source", below: map[string][]string{
		"paging": d.pagingTable(&recipe.Paging{}).keys(), "window": d.windowTable(&recipe.Window{}).keys(),
	}, fields: []field{
		{"url", d.template(&h.URL, s)},
		{"method", d.plain(&h.Method, "GET or POST")},
		{"query", d.templates(&h.Query, s)},
		{"headers", d.templates(&h.Headers, s)},
		{"body", d.template(&h.Body, s)},
		{"auth", func(v value) { d.auth(v, &h.Auth, s) }},
		{"items", d.plain(&h.Items, "the path to the events in the response, such as data")},
		{"explode", d.plain(&h.Explode, "the path to an array in an item")},
		{"id", d.plain(&h.ID, "a path into an event, such as id")},
		{"type", d.plain(&h.Type, "a path into an event, such as type")},
		{"time", d.plain(&h.Time, "a path into an event, such as created")},
		{"zone", d.plain(&h.Zone, "UTC, or a name such as Europe/London")},
		{"layout", d.plain(&h.Layout, "the layout of times")},
		{"raw", d.plain(&h.Raw, "the template of an event's body")},
		{"position", d.plain(&h.Position, "the way to keep a place, such as head_walk")},
		{"order", d.plain(&h.Order, "newest, oldest or none")},
		{"first", d.templates(&h.First, s)},
		{"paging", func(v value) { d.object(v, d.pagingTable(&h.Paging)) }},
		{"window", func(v value) { d.object(v, d.windowTable(&h.Window)) }},
		{"ack", func(v value) { d.object(v, d.ackTable(&h.Ack, s)) }},
		{"seek", func(v value) { d.object(v, d.seekTable(&h.Seek, s)) }},
		{"changes", func(v value) { d.object(v, d.changesTable(&h.Changes)) }},
		{"for_each", func(v value) {
			h.ForEach = new(recipe.ForEach)
			d.object(v, d.forEachTable(h.ForEach, s))
		}},
		{"limits", func(v value) { d.object(v, d.limitsTable(&h.Limits)) }},
		{"retain", d.span(&h.Retain, "a duration such as 30d")},
		{"overlap", d.span(&h.Overlap, "a duration such as 5m")},
		{"errors", func(v value) { d.errorRules(v, &h.Errors) }},
		{"fetch_one", d.template(&h.FetchOne, s)},
	}}
}

func (d *decoder) pagingTable(p *recipe.Paging) table {
	return table{what: "paging", fields: []field{
		{"param", d.plain(&p.Param, "the name of a query parameter")},
		{"in", d.plain(&p.In, "query, body, header, path or url")},
		{"cursor", d.plain(&p.Cursor, "last_id, page, offset or link, or the path to the next cursor in the response")},
		{"zero", d.boolean(&p.Zero)},
		{"more", d.plain(&p.More, "the path to a boolean in the response")},
		{"done", d.plain(&p.Done, "the path to a boolean in the response")},
		{"current", d.plain(&p.Current, "the path to a page's number in the response")},
		{"limit", d.plain(&p.Limit, "the name of a query parameter")},
		{"size", d.integer(&p.Size, 1, 10_000)},
	}}
}

func (d *decoder) windowTable(w *recipe.Window) table {
	return table{what: "window", fields: []field{
		{"in", d.plain(&w.In, "header")},
		{"since", d.plain(&w.Since, "the name of a query parameter")},
		{"until", d.plain(&w.Until, "the name of a query parameter")},
		{"layout", d.plain(&w.Layout, "unix, unix_ms, or a layout such as 2006-01-02")},
		{"lag", d.span(&w.Lag, "a duration such as 1m")},
		{"step", d.span(&w.Step, "a duration such as 31d")},
		{"late", d.boolean(&w.Late)},
	}}
}

func (d *decoder) ackTable(a *recipe.Ack, s *Source) table {
	return table{what: "ack", fields: []field{
		{"method", d.plain(&a.Method, "POST, PUT, PATCH or DELETE")},
		{"url", d.template(&a.URL, s)},
		{"body", d.template(&a.Body, s)},
	}}
}

func (d *decoder) seekTable(k *recipe.Seek, s *Source) table {
	return table{what: "seek", fields: []field{
		{"method", d.plain(&k.Method, "GET or POST")},
		{"url", d.template(&k.URL, s)},
		{"body", d.template(&k.Body, s)},
		{"cursor", d.plain(&k.Cursor, "the path to the cursor in the answer")},
	}}
}

func (d *decoder) changesTable(x *recipe.Changes) table {
	return table{what: "changes", fields: []field{
		{"resource", d.plain(&x.Resource, "a path into an item, such as id")},
		{"created", d.plain(&x.Created, "the type of an event, such as =order.created")},
		{"updated", d.plain(&x.Updated, "the type of an event, such as =order.updated")},
		{"deleted", d.plain(&x.Deleted, "the type of an event, such as =order.deleted")},
		{"born", d.plain(&x.Born, "the path to the time of an item's creation")},
		{"ignore", func(v value) { x.Ignore, _ = d.texts(v, "a key of an item") }},
	}}
}

func (d *decoder) forEachTable(e *recipe.ForEach, s *Source) table {
	return table{what: "for_each", fields: []field{
		{"url", d.template(&e.URL, s)},
		{"query", d.templates(&e.Query, s)},
		{"items", d.plain(&e.Items, "the path to the values in the response")},
		{"value", d.plain(&e.Value, "the path to the value in an item")},
		{"as", d.plain(&e.As, "the value's name in url, query and body")},
		{"paging", func(v value) { d.object(v, d.pagingTable(&e.Paging)) }},
	}}
}

func (d *decoder) limitsTable(l *recipe.Limits) table {
	return table{what: "limits", fields: []field{
		{"every", d.span(&l.Every, "a duration such as 15m")},
		{"rate", d.number(&l.Rate, 0.0001, 1000)},
		{"burst", d.integer(&l.Burst, 1, 1000)},
		{"remaining", d.plain(&l.Remaining, "the name of a header")},
		{"reset", d.plain(&l.Reset, "the name of a header")},
		{"reset_in", d.plain(&l.ResetIn, "seconds, milliseconds, epoch, epoch_ms or date")},
		{"interval", d.plain(&l.Interval, "the name of a header")},
		{"validators", d.boolean(&l.Validators)},
	}}
}

func (d *decoder) auth(v value, a *recipe.Auth, s *Source) {
	d.object(v, table{
		what: "auth",
		fields: []field{
			{"bearer", d.template(&a.Bearer, s)},
			{"basic", func(v value) {
				a.Basic = new(recipe.Basic)
				d.object(v, d.basicTable(a.Basic, s))
			}},
			{"header", func(v value) {
				a.Header = new(recipe.Header)
				d.object(v, table{what: "auth.header", fields: []field{
					{"name", d.plain(&a.Header.Name, "the name of a header")},
					{"value", d.template(&a.Header.Value, s)},
				}})
			}},
			{"login", func(v value) {
				l := new(recipe.Login)
				a.Login = l
				d.object(v, table{what: "auth.login", fields: []field{
					{"method", d.plain(&l.Method, "GET or POST")},
					{"url", d.template(&l.URL, s)},
					{"basic", func(v value) {
						l.Basic = new(recipe.Basic)
						d.object(v, d.basicTable(l.Basic, s))
					}},
					{"token", d.plain(&l.Token, "the path to the token in the answer")},
					{"expires_in", d.plain(&l.ExpiresIn, "the path to the token's life in seconds")},
				}})
			}},
			{"oauth2", func(v value) {
				a.OAuth2 = new(recipe.OAuth2)
				d.object(v, d.oauth2Table(a.OAuth2, s))
			}},
		},
	})
}

func (d *decoder) oauth2Table(o *recipe.OAuth2, s *Source) table {
	return table{what: "auth.oauth2", fields: []field{
		{"token_url", d.template(&o.TokenURL, s)},
		{"client_id", d.template(&o.ClientID, s)},
		{"client_secret", d.template(&o.ClientSecret, s)},
		{"scopes", func(v value) { o.Scopes, _ = d.texts(v, "a scope") }},
		{"params", d.templates(&o.Params, s)},
		{"in_body", d.boolean(&o.InBody)},
	}}
}

func (d *decoder) basicTable(b *recipe.Basic, s *Source) table {
	return table{what: "basic", fields: []field{
		{"user", d.template(&b.User, s)},
		{"password", d.template(&b.Password, s)},
	}}
}

func (d *decoder) errorRules(v value, to *[]recipe.ErrorRule) {
	for _, item := range d.items(v) {
		var r recipe.ErrorRule
		d.object(item, table{what: "a rule of errors", fields: []field{
			{"status", d.integer(&r.Status, 200, 599)},
			{"path", d.plain(&r.Path, "a path into the answer")},
			{"equals", d.plain(&r.Equals, "the text that stands at path")},
			{"missing", d.boolean(&r.Missing)},
			{"means", d.plain(&r.Means, "refused, limited, lost or empty")},
		}})
		*to = append(*to, r)
	}
}
